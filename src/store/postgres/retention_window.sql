-- postgres: ended jobs in the order of their ends, with what their days hang on, and whether
-- somebody still waits for them.
select
    result.seq, result.job_id, quarrier.ms(result.ended_at) as "ended_at!", job.queue, job.tenant,
    job.bodies_gone_at is not null as "gone!",
    job.reply and coalesce((
        select delivery.state = 'due' from quarrier.delivery where delivery.job_id = job.id
    ), false) as "awaited!"
from quarrier.result
join quarrier.job on job.id = result.job_id
where result.seq > $1
order by result.seq
limit $2
