-- postgres: the head of a lane past the jobs of paused queues, from a place on; of one batch where
-- named. The `case` keeps the planner from guessing how many are left: a guess of few would make it
-- read and sort the whole lane, or the table, where the first in the order of place are wanted.
select
    id, external_id, tenant, queue, place as "place!", calls, failures, reasks, crashes, throttles,
    max_attempts, quarrier.ms(deadline_at) as "deadline_at!", input_tokens_max, max_tokens,
    burndown, hold
from quarrier.job
where
    lane = $1 and state = 'ready' and due and place >= $4
    and case when queue = any($5) then false else true end
    and (
        $3::uuid is null
        or exists (select from quarrier.batch_line where batch_line.job_id = job.id and batch_id = $3)
    )
order by place
limit $2
for no key update skip locked
