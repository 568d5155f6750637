-- sqlite: the head of a lane's jobs of one queue that has a reserved share; of one batch where named.
select
    id as "id!: Hyphenated", external_id, tenant, queue, place as "place!: f64", calls, failures,
    reasks, crashes, throttles, max_attempts, deadline_at, input_tokens_max, max_tokens, burndown, hold
from job
where
    lane = ?1 and state = 'ready' and due = 1 and reserved = 1 and queue = ?4
    and (
        ?3 is null
        or exists (select 1 from batch_line where batch_line.job_id = job.id and batch_id = ?3)
    )
order by place
limit ?2
