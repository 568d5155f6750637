-- postgres: the jobs of attempts that may be lost, this transaction's until its commit, and whether
-- the lease is there under which they would run.
select
    id as "id!", lane as "lane!", queue as "queue!", tenant as "tenant!", state as "state!",
    fence as "fence?", lease_id as "lease_id?", calls as "calls!",
    input_tokens_max as "input_tokens_max!", max_tokens as "max_tokens!", burndown as "burndown!",
    exists (select from quarrier.lease where lease.id = $2) as "leased!"
from quarrier.job
where id = any($1)
order by id
for no key update
