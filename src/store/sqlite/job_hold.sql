-- sqlite: these jobs wait for a person.
update job
set state = 'held', fence = null, lease_id = null, reason = 'crashed'
where id in (select value from jsonb_each(?1)) and ended_at is null
