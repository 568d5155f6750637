-- sqlite: how far an erasure has come.
update erasure set after_job = ?2, counts = ?3, done_at = ?4 where id = ?1
