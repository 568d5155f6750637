-- postgres: how many jobs that have not ended stand in each state, by model and lane, most first.
select model as "model!", lane as "lane!", state as "state!", count(*) as "jobs!"
from quarrier.job
where ended_at is null
group by model, lane, state
order by count(*) desc
limit $1
