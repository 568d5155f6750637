-- sqlite: jobs that will be called again keep their place.
update job
set
    state = 'ready', fence = null, lease_id = null,
    due = again.value ->> 'due',
    run_at = again.value ->> 'run_at',
    failures = again.value ->> 'failures',
    reasks = again.value ->> 'reasks',
    crashes = again.value ->> 'crashes',
    throttles = again.value ->> 'throttles',
    input_tokens_max = again.value ->> 'input_tokens_max',
    reason = again.value ->> 'reason'
from jsonb_each(?1) as again
where job.id = again.value ->> 'id' and job.ended_at is null
