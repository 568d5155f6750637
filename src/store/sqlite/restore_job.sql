-- sqlite: their jobs run them again under this lease, or only count them.
update job
set
    calls = max(job.calls, kept.value ->> 'calls'),
    state = iif(kept.value ->> 'runs', 'running', job.state),
    fence = iif(kept.value ->> 'runs', kept.value ->> 'fence', job.fence),
    lease_id = iif(kept.value ->> 'runs', ?2, job.lease_id),
    reason = iif(kept.value ->> 'runs', null, job.reason),
    capped = iif(kept.value ->> 'runs', kept.value ->> 'capped', job.capped)
from jsonb_each(?1) as kept
where job.id = kept.value ->> 'id'
