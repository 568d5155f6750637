-- postgres: the attempts of these jobs go.
delete from quarrier.attempt where job_id = any($1)
