-- sqlite: and they run again, or wait for a person.
update job
set
    state = rescued.value ->> 'state', fence = null, lease_id = null, reason = ?2,
    due = rescued.value ->> 'due', run_at = rescued.value ->> 'run_at',
    crashes = rescued.value ->> 'crashes'
from jsonb_each(?1) as rescued
where job.id = rescued.value ->> 'id' and job.ended_at is null
