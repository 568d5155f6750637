-- postgres: of these attempts, those whose calls serve nothing any more. A job that is not there
-- at all was lost by a failover, and may come again: its call runs on, and says what it says.
select asked.fence as "fence!"
from unnest($1::uuid[], $2::int[], $3::uuid[]) as asked (job_id, number, fence)
join quarrier.job on job.id = asked.job_id
left join quarrier.attempt
    on attempt.job_id = asked.job_id and attempt.number = asked.number
    and attempt.fence = asked.fence
where
    job.ended_at is not null
    or (attempt.outcome = 'unknown' and attempt.error_kind = 'cancelled')
