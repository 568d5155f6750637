-- sqlite: identities seen before, with what is left of their jobs.
select
    seen.tenant as "tenant!",
    seen.identity as "identity!",
    seen.job_id as "job_id!: Hyphenated",
    seen.document_hash as "document_hash!",
    job_spec.document as "document?",
    job.state as "state?"
from jsonb_each(?1) as asked
join seen on seen.tenant = asked.value ->> 'tenant' and seen.identity = asked.value ->> 'key'
left join job on job.id = seen.job_id
left join job_spec on job_spec.job_id = seen.job_id
