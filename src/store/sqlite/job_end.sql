-- sqlite: ends jobs that have not ended.
update job
set state = ended.state, ended_at = ?2, fence = null, lease_id = null, reason = ended.reason
from (
    select
        value ->> 'id' as id, value ->> 'state' as state, value ->> 'error_kind' as reason
    from jsonb_each(?1)
) as ended
where job.id = ended.id and job.ended_at is null
