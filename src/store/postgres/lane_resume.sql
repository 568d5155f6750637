-- postgres: a person ends these lanes' pauses. Read `resumed`: each worker has its own view of them.
update quarrier.lane
set paused_until = quarrier.at(0), pause_reason = null, resumed = resumed + 1
where key = any($1)
