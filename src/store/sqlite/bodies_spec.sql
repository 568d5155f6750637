-- sqlite: the documents of these jobs go. Without what admission settled, nobody puts them back.
update job_spec
set document = 'null', resolved = null, reask = null, reply_to = null, trace = null
where job_id in (select value from jsonb_each(?1))
