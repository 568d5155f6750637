-- sqlite: pauses that are over.
delete from pause where paused_until <= ?1
