-- postgres: how many jobs of each queue have not ended, by state.
select queue as "queue!", state as "state!", count(*) as "jobs!"
from quarrier.job
where ended_at is null
group by queue, state
order by queue collate "C"
