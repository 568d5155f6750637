-- postgres: the claimed run under this lease.
update quarrier.job
set state = 'running', calls = claimed.number, fence = claimed.fence, lease_id = $4, reason = null
from unnest($1::uuid[], $2::int[], $3::uuid[]) as claimed (id, number, fence)
where job.id = claimed.id
