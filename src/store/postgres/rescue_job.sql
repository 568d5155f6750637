-- postgres: and they run again, or wait for a person.
update quarrier.job
set
    state = rescued.state, fence = null, lease_id = null, reason = $6, due = rescued.due,
    run_at = quarrier.at(rescued.run_at), crashes = rescued.crashes
from unnest($1::uuid[], $2::text[], $3::boolean[], $4::bigint[], $5::int[])
    as rescued (id, state, due, run_at, crashes)
where job.id = rescued.id and job.ended_at is null
