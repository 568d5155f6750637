-- postgres: what runs under a lease.
select job.id, coalesce(attempt.number, job.calls) as "number!", job.fence as "fence!"
from quarrier.job
left join quarrier.attempt on attempt.job_id = job.id and attempt.fence = job.fence
where job.lease_id = $1 and job.state = 'running'
