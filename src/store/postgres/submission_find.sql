-- postgres: the newest document that waits under a name: its job's id, its row's key, its own id.
-- Of a row of the functions the document's id stands in its column, and it is not read.
select
    submission.seq as "seq!", coalesce(submission.id, submission.job_id::text) as "key!",
    submission.job_id as "job_id!",
    coalesce(submission.external_id, said.document ->> 'id') as external_id,
    coalesce(submission.tenant, said.document ->> 'tenant', $4) as "tenant!",
    coalesce(said.document ->> 'queue', $3) as "queue!",
    coalesce(said.document ->> 'model', $5) as "model!",
    quarrier.ms(submission.submitted_at) as "submitted_at!", submission.document as "document!"
from quarrier.submission
cross join lateral (
    select quarrier.jsonb_or_null(submission.document) as document offset 0
) as said
where
    submission.job_id = $1 or submission.id = $2 or submission.external_id = $2
    or (
        submission.tenant is null
        and quarrier.jsonb_or_null(submission.document) ->> 'id' = $2
    )
order by submission.job_id = $1 desc nulls last, submission.seq desc
limit 1
