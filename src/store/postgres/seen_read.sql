-- postgres: identities seen before, with what is left of their jobs.
select
    seen.tenant as "tenant!", seen.identity as "identity!", seen.job_id as "job_id!",
    seen.document_hash as "document_hash!", job_spec.document as "document?", job.state as "state?"
from unnest($1::text[], $2::text[]) as asked (tenant, identity)
join quarrier.seen on seen.tenant = asked.tenant and seen.identity = asked.identity
left join quarrier.job on job.id = seen.job_id
left join quarrier.job_spec on job_spec.job_id = seen.job_id
