-- postgres: what the model said to these jobs goes.
delete from quarrier.attempt_body where job_id = any($1)
