-- postgres: what the claimed calls need, in the order of the claim.
select
    job_spec.job_id as "job_id!", job_spec.document as "document!", job_spec.resolved as "resolved?",
    job_spec.reask as "reask?"
from unnest($1::uuid[]) with ordinality as claimed (id, at)
join quarrier.job_spec on job_spec.job_id = claimed.id
order by claimed.at
