-- postgres: what is left of these jobs' documents goes.
delete from quarrier.job_spec where job_id = any($1)
