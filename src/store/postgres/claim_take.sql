-- postgres: the claimed run under this lease, each with its attempt, which is there before its call
-- leaves (G3); and what the calls need, in any order.
with claimed as materialized (
    select *
    from
        unnest(
            $1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[], $9::boolean[]
        ) as claimed (job_id, number, fence, slot, keys, reserved_tokens, capped)
),
run as (
    update quarrier.job
    set state = 'running', calls = claimed.number, fence = claimed.fence, lease_id = $7, reason = null,
        capped = claimed.capped
    from claimed
    where job.id = claimed.job_id
),
made as (
    insert into quarrier.attempt (
        job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
    )
    select
        claimed.job_id, claimed.number, claimed.fence, $7, quarrier.at($8), claimed.slot,
        string_to_array(claimed.keys, chr(31)), claimed.reserved_tokens
    from claimed
)
select
    job_spec.job_id as "job_id!", job_spec.document as "document!", job_spec.resolved as "resolved?",
    job_spec.reask as "reask?"
from claimed
join quarrier.job_spec on job_spec.job_id = claimed.job_id
