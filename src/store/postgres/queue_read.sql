-- postgres: how the configured queues share lanes.
select name, concurrency_max, reserved_permille, weight
from quarrier.queue
order by name collate "C"
