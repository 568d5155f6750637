-- sqlite: jobs that run already count against their queue's new cap.
update job
set capped = 1
where state = 'running' and capped = 0 and queue in (select value from json_each(?1))
