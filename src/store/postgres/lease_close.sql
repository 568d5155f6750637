-- postgres: a lease ends, once nothing runs under it.
delete from quarrier.lease
where
    id = $1
    and not exists (
        select from quarrier.job where job.lease_id = lease.id and job.state = 'running'
    )
