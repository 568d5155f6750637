-- postgres: the queue of the first job of a lane that only its queue's pause holds back.
select queue
from quarrier.job
where
    lane = $1 and state = 'ready' and due and queue = any($2)
    and (
        $3::uuid is null
        or exists (select from quarrier.batch_line where batch_line.job_id = job.id and batch_id = $3)
    )
order by place
limit 1
