-- postgres: the answers of these jobs go.
update quarrier.result
set output = null, text = null, text_bytes = null
where job_id = any($1) and (output is not null or text is not null or text_bytes is not null)
