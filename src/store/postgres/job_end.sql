-- postgres: ends jobs that have not ended, and says which, and whether they reply.
update quarrier.job
set
    state = ended.state, ended_at = quarrier.at($4), fence = null, lease_id = null,
    reason = ended.reason
from unnest($1::uuid[], $2::text[], $3::text[]) as ended (id, state, reason)
where job.id = ended.id and job.ended_at is null
returning job.id, job.reply
