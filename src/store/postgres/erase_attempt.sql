-- postgres: words that may quote a prompt or a model go; the provider's ids and the sums stay.
update quarrier.attempt
set error_message = null
where job_id = any($1) and error_message is not null
