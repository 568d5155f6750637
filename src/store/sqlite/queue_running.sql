-- sqlite: how many jobs of these capped queues run.
select queue, count(*) as "running!: i64"
from job
where state = 'running' and capped = 1 and queue in (select value from json_each(?1))
group by queue
