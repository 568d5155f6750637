-- postgres: the same for attempts that were given up as unknown, and may have left a part of it.
insert into quarrier.attempt_body (job_id, number, raw_text, raw_bytes, schema_errors)
select * from unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[], $5::text[])
on conflict (job_id, number) do update
set
    raw_text = excluded.raw_text, raw_bytes = excluded.raw_bytes,
    schema_errors = excluded.schema_errors
