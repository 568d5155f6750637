-- postgres: how far this stage has come.
update quarrier.retention
set after_seq = $2, policy = $3, restarted_at = quarrier.at($4)
where stage = $1
