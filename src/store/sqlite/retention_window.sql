-- sqlite: ended jobs in the order of their ends, with what their days hang on, and whether
-- somebody still waits for them.
select
    result.seq as "seq!: i64", result.job_id as "job_id!: Hyphenated", result.ended_at,
    job.queue, job.tenant, job.bodies_gone_at is not null as "gone!: bool",
    job.reply and coalesce((
        select delivery.state = 'due' from delivery where delivery.job_id = job.id
    ), 0) as "awaited!: bool"
from result
join job on job.id = result.job_id
where result.seq > ?1
order by result.seq
limit ?2
