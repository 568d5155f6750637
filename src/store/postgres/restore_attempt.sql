-- postgres: attempts that a failover lost, as they were: their calls are in flight, or over.
insert into quarrier.attempt (
    job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens, restored
)
select
    lost.job_id, lost.number, lost.fence, $8, quarrier.at(lost.started_at), lost.slot,
    string_to_array(lost.keys, chr(31)), lost.reserved_tokens, true
from unnest(
    $1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[]
) as lost (job_id, number, fence, started_at, slot, keys, reserved_tokens)
