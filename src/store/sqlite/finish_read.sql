-- sqlite: what the tables say of these attempts and their jobs.
select
    attempt.fence as "fence!: Hyphenated",
    attempt.slot as "slot!: i64",
    attempt.keys as "keys!",
    attempt.reserved_tokens as "reserved_tokens!: i64",
    attempt.outcome as "outcome?",
    job.lane as "lane!",
    job.state as "state!",
    coalesce(job.fence = attempt.fence, 0) as "current!: i64"
from jsonb_each(?1) as asked
join attempt
    on attempt.job_id = asked.value ->> 'job_id' and attempt.number = asked.value ->> 'number'
    and attempt.fence = asked.value ->> 'fence'
join job on job.id = attempt.job_id
