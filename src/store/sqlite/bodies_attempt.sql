-- sqlite: what the model said to these jobs goes.
delete from attempt_body where job_id in (select value from jsonb_each(?1))
