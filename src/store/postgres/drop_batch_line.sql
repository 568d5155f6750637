-- postgres: the lines of batches that these jobs are go.
delete from quarrier.batch_line where job_id = any($1)
