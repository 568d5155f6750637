-- sqlite: jobs in the order of their ids; which of them are to be erased, and which run.
select
    id as "id!: Hyphenated",
    tenant = ?2 and created_at <= ?3 and bodies_gone_by is not 'erasure' as "wanted!: bool",
    ended_at is null as "live!: bool",
    state = 'running' as "running!: bool"
from job
where id > ?1
order by id
limit ?4
