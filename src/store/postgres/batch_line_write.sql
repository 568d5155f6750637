-- postgres: which job a line of a file is.
insert into quarrier.batch_line (batch_id, line, job_id)
select * from unnest($1::uuid[], $2::bigint[], $3::uuid[])
on conflict (batch_id, line) do update set job_id = excluded.job_id
