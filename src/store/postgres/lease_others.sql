-- postgres: the other processes, and leases whose row is gone while jobs still run under them.
select id as "id!", beat as "beat!" from quarrier.lease where id <> $1
union all
select distinct lease_id as "id!", -1::bigint as "beat!"
from quarrier.job
where
    state = 'running' and lease_id <> $1
    and not exists (select from quarrier.lease where lease.id = job.lease_id)
