-- postgres: what the tables say of these attempts and their jobs, once the jobs' locks are held.
select
    attempt.job_id, attempt.number, attempt.fence, attempt.slot, attempt.keys,
    attempt.reserved_tokens, attempt.outcome, job.lane,
    coalesce(job.state = 'running' and job.fence = attempt.fence, false) as "current!"
from unnest($1::uuid[], $2::int[], $3::uuid[]) as asked (job_id, number, fence)
join quarrier.attempt
    on attempt.job_id = asked.job_id and attempt.number = asked.number
    and attempt.fence = asked.fence
join quarrier.job on job.id = attempt.job_id
