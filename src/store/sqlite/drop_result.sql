-- sqlite: the results of these jobs go.
delete from result where job_id in (select value from jsonb_each(?1))
