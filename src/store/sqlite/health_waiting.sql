-- sqlite: how many jobs that have not ended stand in each state, by model and lane, most first.
select model, lane, state, count(*) as "jobs!: i64"
from job
where ended_at is null
group by model, lane, state
order by count(*) desc
limit ?1
