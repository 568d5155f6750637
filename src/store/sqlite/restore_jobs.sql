-- sqlite: the jobs of attempts that may be lost, and whether the lease is there under which they
-- would run.
select
    id as "id!: Hyphenated", lane, queue, tenant, state, fence as "fence: Hyphenated",
    lease_id as "lease_id: Hyphenated", calls, input_tokens_max, max_tokens, burndown,
    exists (select 1 from lease where lease.id = ?2) as "leased!: bool"
from job
where id in (select value from jsonb_each(?1))
