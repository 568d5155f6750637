-- sqlite: jobs that match, newest first (ids are in the order of admission).
select
    id as "id!: Hyphenated", external_id, state, queue, tenant, model, lane, priority, calls,
    failures, reasks, crashes, throttles, created_at, run_at, deadline_at, ended_at, reason
from job
where
    (?1 is null or queue = ?1)
    and (?2 is null or tenant = ?2)
    and (?3 is null or state = ?3)
    and (?4 is null or reason = ?4)
    and (?5 is null or model = ?5)
    and (?6 is null or created_at >= ?6)
    and (
        ?9 is null
        or exists (select 1 from batch_line where batch_line.job_id = job.id and batch_id = ?9)
    )
    and id < coalesce(?7, 'g')  -- greater than any id, so that the key's order serves every page
order by id desc
limit ?8
