-- sqlite: words that may quote a prompt or a model go.
update result
set error_message = null
where job_id in (select value from jsonb_each(?1)) and error_message is not null
