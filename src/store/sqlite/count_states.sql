-- sqlite: jobs by state; of one batch where named. A job that two lines name counts once.
select job.state, count(*) as "jobs!: i64"
from job
where ?1 is null or exists (
    select 1 from batch_line where batch_line.job_id = job.id and batch_id = ?1
)
group by job.state
