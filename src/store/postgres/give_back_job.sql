-- postgres: and the jobs stand where they stood, uncounted.
update quarrier.job
set state = 'ready', fence = null, lease_id = null
where id = any($1) and state = 'running'
