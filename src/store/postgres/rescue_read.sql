-- postgres: jobs that run under a dead lease. One whose finish is just being written needs none.
select
    id, hold, quarrier.ms(deadline_at) as "deadline_at!", failures, reasks, crashes, throttles
from quarrier.job
where lease_id = $1 and state = 'running'
limit $2
for no key update skip locked
