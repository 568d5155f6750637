-- postgres: one job as a list shows it.
select
    id, external_id, state, queue, tenant, model, lane, priority, calls, failures, reasks, crashes,
    throttles, quarrier.ms(created_at) as "created_at!", quarrier.ms(run_at) as "run_at!",
    quarrier.ms(deadline_at) as "deadline_at!", quarrier.ms(ended_at) as ended_at, reason
from quarrier.job
where id = $1
