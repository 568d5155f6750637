-- postgres: what the model said in these attempts, whose end is recorded for the first time.
insert into quarrier.attempt_body (job_id, number, raw_text, raw_bytes, schema_errors)
select * from unnest($1::uuid[], $2::int[], $3::text[], $4::bytea[], $5::text[])
