-- sqlite: ended jobs in the order of their ends, with what their days hang on.
select
    result.seq as "seq!: i64", result.job_id as "job_id!: Hyphenated", result.ended_at,
    job.queue, job.tenant, job.bodies_gone_at is not null as "gone!: bool"
from result
join job on job.id = result.job_id
where result.seq > ?1
order by result.seq
limit ?2
