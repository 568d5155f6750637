-- postgres: the process lives.
update quarrier.lease set beat = beat + 1, beat_at = clock_timestamp() where id = $1 returning beat
