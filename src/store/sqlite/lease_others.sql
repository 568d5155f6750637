-- sqlite: the other processes, and leases whose row is gone while jobs still run under them.
select id as "id!: Hyphenated", beat as "beat!: i64" from lease where id <> ?1
union all
select distinct job.lease_id, -1
from job
left join lease on lease.id = job.lease_id
where job.state = 'running' and lease.id is null and job.lease_id <> ?1
