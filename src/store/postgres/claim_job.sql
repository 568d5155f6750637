-- postgres: the claimed run under this lease.
update quarrier.job
set
    state = 'running', calls = claimed.number, fence = claimed.fence, lease_id = $4, reason = null,
    capped = claimed.capped
from unnest($1::uuid[], $2::int[], $3::uuid[], $5::boolean[]) as claimed (id, number, fence, capped)
where job.id = claimed.id
