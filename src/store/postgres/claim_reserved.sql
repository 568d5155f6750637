-- postgres: the head of a lane's jobs of one queue that has a reserved share; of one batch where named.
-- A row that somebody else is changing is left out: who holds it may be waiting for this lane.
select
    id, external_id, tenant, queue, place as "place!", calls, failures, reasks, crashes, throttles,
    max_attempts, quarrier.ms(deadline_at) as "deadline_at!", input_tokens_max, max_tokens,
    burndown, hold
from quarrier.job
where
    lane = $1 and state = 'ready' and due and reserved and queue = $4
    and (
        $3::uuid is null
        or exists (select from quarrier.batch_line where batch_line.job_id = job.id and batch_id = $3)
    )
order by place
limit $2
for no key update skip locked
