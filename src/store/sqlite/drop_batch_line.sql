-- sqlite: the lines of batches that these jobs are go.
delete from batch_line where job_id in (select value from jsonb_each(?1))
