-- sqlite: what the claimed calls need, in the order of the claim.
select
    job_spec.job_id as "job_id!: Hyphenated", job_spec.document as "document!",
    job_spec.resolved as "resolved?", job_spec.reask as "reask?"
from jsonb_each(?1) as claimed
join job_spec on job_spec.job_id = claimed.value ->> 'id'
order by claimed.key
