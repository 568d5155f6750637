-- postgres: identities whose time is over, unless their job still waits.
delete from quarrier.seen
where (tenant, identity) in (
    select seen.tenant, seen.identity
    from quarrier.seen
    left join quarrier.job on job.id = seen.job_id
    where seen.expires_at <= quarrier.at($1) and (job.id is null or job.ended_at is not null)
    limit $2
)
