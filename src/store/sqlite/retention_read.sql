-- sqlite: how far this stage has come.
select after_seq, policy, restarted_at from retention where stage = ?1
