-- postgres: how many jobs of these capped queues run. Exact while the queues' keys are locked.
select queue, count(*) as "running!"
from quarrier.job
where state = 'running' and capped and queue = any($1)
group by queue
