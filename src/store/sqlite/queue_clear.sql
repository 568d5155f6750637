-- sqlite: what was configured of queues goes.
delete from queue
