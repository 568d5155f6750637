-- sqlite: the process lives.
update lease set beat = beat + 1 where id = ?1 returning beat
