-- postgres: jobs that will be called again keep their place.
update quarrier.job
set
    state = 'ready', fence = null, lease_id = null, due = again.due,
    run_at = quarrier.at(again.run_at), failures = again.failures, reasks = again.reasks,
    crashes = again.crashes, throttles = again.throttles,
    input_tokens_max = again.input_tokens_max, reason = again.reason
from unnest(
    $1::uuid[], $2::boolean[], $3::bigint[], $4::int[], $5::int[], $6::int[], $7::int[],
    $8::bigint[], $9::text[]
) as again (id, due, run_at, failures, reasks, crashes, throttles, input_tokens_max, reason)
where job.id = again.id and job.ended_at is null
