-- postgres: the receipts, the oldest first.
select
    id, tenant, asked_by, quarrier.ms(started_at) as "started_at!", quarrier.ms(done_at) as done_at,
    counts
from quarrier.erasure
order by started_at, id
