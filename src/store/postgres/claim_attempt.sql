-- postgres: each claim is one attempt, there before its call leaves (G3).
insert into quarrier.attempt (
    job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
)
select
    claimed.job_id, claimed.number, claimed.fence, $7, quarrier.at($8), claimed.slot,
    string_to_array(claimed.keys, chr(31)), claimed.reserved_tokens
from unnest($1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[])
    as claimed (job_id, number, fence, slot, keys, reserved_tokens)
