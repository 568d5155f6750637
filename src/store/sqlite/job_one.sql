-- sqlite: one job as a list shows it.
select
    id as "id!: Hyphenated", external_id, state, queue, tenant, model, lane, priority, calls,
    failures, reasks, crashes, throttles, created_at, run_at, deadline_at, ended_at, reason
from job
where id = ?1
