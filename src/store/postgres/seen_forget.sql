-- postgres: identities whose time is over, unless their job still waits; the oldest first.
delete from quarrier.seen
using (
    select tenant, identity
    from quarrier.seen
    where
        expires_at <= quarrier.at($1)
        and coalesce((select ended_at is not null from quarrier.job where id = seen.job_id), true)
    order by expires_at
    limit $2
) as over
where seen.tenant = over.tenant and seen.identity = over.identity
