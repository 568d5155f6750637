-- sqlite: the queue of the first job of a lane that only its queue's pause holds back.
select queue
from job
where
    lane = ?1 and state = 'ready' and due = 1
    and queue in (select value from json_each(?2))
    and (
        ?3 is null
        or exists (select 1 from batch_line where batch_line.job_id = job.id and batch_id = ?3)
    )
order by place
limit 1
