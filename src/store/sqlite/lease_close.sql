-- sqlite: a lease ends, once nothing runs under it.
delete from lease
where
    id = ?1
    and not exists (select 1 from job where job.lease_id = lease.id and job.state = 'running')
