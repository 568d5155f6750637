-- sqlite: jobs whose deadline passed while nothing was in flight.
select id as "id!: Hyphenated", reason
from job
where ended_at is null and deadline_at <= ?1 and state in ('ready', 'held')
order by deadline_at
limit ?2
