-- sqlite: how many jobs of each queue have not ended, by state.
select queue, state, count(*) as "jobs!: i64"
from job
where ended_at is null
group by queue, state
order by queue
