-- postgres: their jobs run them again under this lease, or only count them.
update quarrier.job
set
    calls = greatest(job.calls, kept.calls),
    state = case when kept.runs then 'running' else job.state end,
    fence = case when kept.runs then kept.fence else job.fence end,
    lease_id = case when kept.runs then $6 else job.lease_id end,
    reason = case when kept.runs then null else job.reason end,
    capped = case when kept.runs then kept.capped else job.capped end
from unnest($1::uuid[], $2::int[], $3::boolean[], $4::uuid[], $5::boolean[])
    as kept (id, calls, runs, fence, capped)
where job.id = kept.id
