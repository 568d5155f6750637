-- sqlite: what became of deliveries that were taken. What has ended meanwhile, or belongs to another
-- end of its job, stays as it is.
update delivery
set
    state = sent.value ->> 'state', tries = delivery.tries + (sent.value ->> 'tries'),
    next_at = sent.value ->> 'next_at', error = sent.value ->> 'error', ended_at = iif(sent.value ->> 'state' = 'due', null, ?2)
from jsonb_each(?1) as sent
where
    delivery.job_id = sent.value ->> 'job_id' and delivery.seq = sent.value ->> 'seq'
    and delivery.state = 'due' and delivery.taken = 1
