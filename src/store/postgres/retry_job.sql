-- postgres: ready again, with fresh counters.
update quarrier.job
set
    state = 'ready', due = true, place = $3, run_at = quarrier.at($2),
    deadline_at = quarrier.at($4), ended_at = null, failures = 0, reasks = 0, crashes = 0,
    throttles = 0, reason = null, fence = null, lease_id = null
where id = $1
