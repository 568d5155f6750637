-- postgres: how far an erasure has come.
update quarrier.erasure
set after_job = $2, counts = $3, done_at = quarrier.at($4)
where id = $1
