-- postgres: the results of these jobs go.
delete from quarrier.result where job_id = any($1)
