-- sqlite: the answers of these jobs go.
update result
set output = null, text = null
where job_id in (select value from jsonb_each(?1))
