-- sqlite: and the jobs stand where they stood, uncounted.
update job
set state = 'ready', fence = null, lease_id = null
where id in (select value from jsonb_each(?1)) and state = 'running'
