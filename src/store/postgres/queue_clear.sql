-- postgres: what was configured of queues goes.
delete from quarrier.queue
