-- postgres: jobs in the order of their ids; which of them are to be erased, and which run.
select
    id,
    tenant = $2 and created_at <= quarrier.at($3)
    and bodies_gone_by is distinct from 'erasure' as "wanted!",
    ended_at is null as "live!",
    state = 'running' as "running!"
from quarrier.job
where id > $1
order by id
limit $4
