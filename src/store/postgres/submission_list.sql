-- postgres: documents that no worker has admitted yet, the last first. `offset 0` keeps each from
-- being read as JSON once for every field.
select
    submission.seq as "seq!", coalesce(submission.id, submission.job_id::text) as "key!",
    submission.job_id as "job_id!",
    coalesce(submission.external_id, said.id) as external_id,
    coalesce(submission.tenant, said.tenant, $7) as "tenant!",
    coalesce(said.queue, $6) as "queue!", coalesce(said.model, $8) as "model!",
    quarrier.ms(submission.submitted_at) as "submitted_at!"
from quarrier.submission
cross join lateral (
    select
        read.document ->> 'id' as id, read.document ->> 'tenant' as tenant,
        read.document ->> 'queue' as queue, read.document ->> 'model' as model
    from (select quarrier.jsonb_or_null(submission.document) as document offset 0) as read
    offset 0
) as said
where
    submission.seq < coalesce($5, 9223372036854775807)
    and ($4::bigint is null or submission.submitted_at >= quarrier.at($4))
    and ($1::text is null or coalesce(said.queue, $6) = $1)
    and ($2::text is null or coalesce(submission.tenant, said.tenant, $7) = $2)
    and ($3::text is null or coalesce(said.model, $8) = $3)
order by submission.seq desc
limit $9
