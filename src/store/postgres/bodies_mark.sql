-- postgres: the texts of these jobs are deleted, unless they were put back meanwhile. Says which.
update quarrier.job
set bodies_gone_at = quarrier.at($2), bodies_gone_by = $3
where id = any($1) and ended_at <= quarrier.at($4)
returning id
