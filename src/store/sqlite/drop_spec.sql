-- sqlite: what is left of these jobs' documents goes.
delete from job_spec where job_id in (select value from jsonb_each(?1))
