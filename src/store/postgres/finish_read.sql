-- postgres: what stands of these attempts, and the time, once the jobs' locks are held.
select
    attempt.job_id, attempt.fence, attempt.slot, attempt.keys, attempt.reserved_tokens,
    attempt.outcome, (select quarrier.ms(clock_timestamp())) as "now!"
from unnest($1::uuid[], $2::int[], $3::uuid[]) as asked (job_id, number, fence)
join quarrier.attempt
    on attempt.job_id = asked.job_id and attempt.number = asked.number
    and attempt.fence = asked.fence
