-- sqlite: the attempts of these jobs go.
delete from attempt where job_id in (select value from jsonb_each(?1))
