-- sqlite: the claimed run under this lease.
update job
set
    state = 'running', calls = claimed.number, fence = claimed.fence, lease_id = ?2, reason = null,
    capped = claimed.capped
from (
    select
        value ->> 'id' as id, value ->> 'number' as number, value ->> 'fence' as fence,
        value ->> 'capped' as capped
    from jsonb_each(?1)
) as claimed
where job.id = claimed.id
