-- postgres: pauses that are over.
delete from quarrier.pause where paused_until <= quarrier.at($1)
