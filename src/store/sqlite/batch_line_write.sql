-- sqlite: which job a line of a file is.
insert into batch_line (batch_id, line, job_id)
select value ->> 'batch_id', value ->> 'line', value ->> 'job_id' from jsonb_each(?1) where true
on conflict (batch_id, line) do update set job_id = excluded.job_id
