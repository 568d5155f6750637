-- postgres: these attempts were never sent.
update quarrier.attempt
set outcome = 'not_sent', settled_tokens = 0, finished_at = quarrier.at($3), error_kind = null
from unnest($1::uuid[], $2::int[]) as unsent (job_id, number)
where attempt.job_id = unsent.job_id and attempt.number = unsent.number
