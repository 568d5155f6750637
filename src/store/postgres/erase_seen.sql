-- postgres: identities of a tenant go, which hold its documents' hashes; those of later jobs stay.
delete from quarrier.seen
using (
    select was.identity
    from quarrier.seen as was
    left join quarrier.job on job.id = was.job_id
    where was.tenant = $1 and (job.id is null or job.created_at <= quarrier.at($2))
    limit $3
) as over
where seen.tenant = $1 and seen.identity = over.identity
