-- sqlite: how far this stage has come.
update retention set after_seq = ?2, policy = ?3, restarted_at = ?4 where stage = ?1
