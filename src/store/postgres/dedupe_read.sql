-- postgres: jobs that have not ended and hold one of these keys.
select job.tenant as "tenant!", job.dedupe_key as "dedupe_key!", job.id as "id!"
from unnest($1::text[], $2::text[]) as asked (tenant, key)
join quarrier.job
    on job.tenant = asked.tenant and job.dedupe_key = asked.key
    and job.dedupe_key is not null and job.ended_at is null
