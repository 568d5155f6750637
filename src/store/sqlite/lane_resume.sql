-- sqlite: a person ends these lanes' pauses. Read `resumed`: each worker has its own view of them.
update lane
set paused_until = 0, pause_reason = null, resumed = resumed + 1
where key in (select value from json_each(?1))
