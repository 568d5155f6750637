-- postgres: these jobs wait for a person.
update quarrier.job
set state = 'held', fence = null, lease_id = null, reason = 'crashed'
where id = any($1) and ended_at is null
