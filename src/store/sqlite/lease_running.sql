-- sqlite: what runs under a lease.
select
    job.id as "id!: Hyphenated", coalesce(attempt.number, job.calls) as "number!: i64",
    job.fence as "fence!: Hyphenated"
from job
left join attempt on attempt.job_id = job.id and attempt.fence = job.fence
where job.lease_id = ?1 and job.state = 'running'
