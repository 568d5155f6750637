-- sqlite: identities of a tenant go, which hold its documents' hashes; those of later jobs stay.
delete from seen
where tenant = ?1 and identity in (
    select was.identity
    from seen as was
    left join job on job.id = was.job_id
    where was.tenant = ?1 and (job.id is null or job.created_at <= ?2)
    limit ?3
)
