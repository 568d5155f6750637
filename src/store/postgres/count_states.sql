-- postgres: jobs by state; of one batch where named. A job that two lines name counts once.
select job.state as "state!", count(*) as "jobs!"
from quarrier.job
where $1::uuid is null or exists (
    select from quarrier.batch_line where batch_line.job_id = job.id and batch_id = $1
)
group by job.state
