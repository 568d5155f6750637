-- sqlite: how the configured queues share lanes.
select name, concurrency_max, reserved_permille, weight from queue order by name
