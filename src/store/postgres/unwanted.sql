-- postgres: of these attempts, those whose calls serve nothing any more.
select asked.fence as "fence!"
from unnest($1::uuid[], $2::int[], $3::uuid[]) as asked (job_id, number, fence)
left join quarrier.job on job.id = asked.job_id
left join quarrier.attempt
    on attempt.job_id = asked.job_id and attempt.number = asked.number
    and attempt.fence = asked.fence
where
    job.id is null or job.ended_at is not null
    or (attempt.outcome = 'unknown' and attempt.error_kind = 'cancelled')
