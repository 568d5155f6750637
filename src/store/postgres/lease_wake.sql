-- postgres: a process waits for work and wants to be told of it, or no longer; no write where
-- nothing changes.
update quarrier.lease
set wake_wanted = $2
where id = $1 and wake_wanted <> $2
