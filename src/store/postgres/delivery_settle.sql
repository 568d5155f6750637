-- postgres: what became of deliveries that were taken. What has ended meanwhile, or belongs to another
-- end of its job, stays as it is.
with mine as materialized (
    select job_id, seq from quarrier.delivery
    where job_id = any($1) and state = 'due' and taken
    order by job_id
    for no key update
)
update quarrier.delivery
set
    state = sent.state, tries = delivery.tries + sent.tries, next_at = quarrier.at(sent.next_at),
    error = sent.error, ended_at = case when sent.state <> 'due' then quarrier.at($5) end
from mine
join unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $6::int[], $7::bigint[])
    as sent (job_id, state, next_at, error, tries, seq)
    on sent.job_id = mine.job_id and sent.seq = mine.seq
where delivery.job_id = mine.job_id
