-- postgres: the process lives.
update quarrier.lease set beat = beat + 1 where id = $1 returning beat
