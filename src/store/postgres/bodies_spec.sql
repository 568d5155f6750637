-- postgres: the documents of these jobs go. Without what admission settled, nobody puts them back.
update quarrier.job_spec
set
    document = 'null', metadata = null, resolved = null, reask = null, reply_to = null, trace = null
where job_id = any($1)
