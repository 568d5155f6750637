-- sqlite: jobs whose time has come.
select id as "id!: Hyphenated", lane, queue, tenant, priority, place as "place?: f64"
from job
where state = 'ready' and due = 0 and run_at <= ?1
order by run_at
limit ?2
