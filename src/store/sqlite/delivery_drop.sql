-- sqlite: the deliveries of these jobs go.
delete from delivery where job_id in (select value from jsonb_each(?1))
