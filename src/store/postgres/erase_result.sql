-- postgres: words that may quote a prompt or a model go.
update quarrier.result
set error_message = null
where job_id = any($1) and error_message is not null
