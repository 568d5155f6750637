-- sqlite: of these attempts, those whose calls serve nothing any more. A job that is not there
-- at all was lost by a failover, and may come again: its call runs on, and says what it says.
select asked.value ->> 'fence' as "fence!: Hyphenated"
from json_each(?1) as asked
join job on job.id = asked.value ->> 'job_id'
left join attempt
    on attempt.job_id = asked.value ->> 'job_id' and attempt.number = asked.value ->> 'number'
    and attempt.fence = asked.value ->> 'fence'
where
    job.ended_at is not null
    or (attempt.outcome = 'unknown' and attempt.error_kind = 'cancelled')
