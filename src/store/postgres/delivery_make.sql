-- postgres: the deliveries of jobs that this transaction has ended, due at once. Of a job that ends
-- again the delivery of this end is in the place of the one before.
insert into quarrier.delivery (job_id, seq, reply_to, next_at, due_since, created_at)
select
    result.job_id, result.seq, job_spec.reply_to, result.ended_at, result.ended_at, result.ended_at
from quarrier.result
join quarrier.job_spec on job_spec.job_id = result.job_id
where result.job_id = any($1) and job_spec.reply_to is not null
on conflict (job_id) do update
set
    seq = excluded.seq, reply_to = excluded.reply_to, next_at = excluded.next_at,
    due_since = excluded.due_since, created_at = excluded.created_at, ended_at = null, tries = 0,
    taken = false, state = 'due', error = null
