-- sqlite: the other processes, and leases whose row is gone while jobs still run under them.
select id as "id!: Hyphenated", beat as "beat!: i64" from lease where id <> ?1
union all
select distinct lease_id as "id!: Hyphenated", -1 as "beat!: i64"
from job
where
    state = 'running' and lease_id <> ?1
    and not exists (select 1 from lease where lease.id = job.lease_id)
