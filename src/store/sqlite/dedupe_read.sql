-- sqlite: jobs that have not ended and hold one of these keys.
select job.tenant as "tenant!", job.dedupe_key as "dedupe_key!", job.id as "id!: Hyphenated"
from jsonb_each(?1) as asked
join job
    on job.tenant = asked.value ->> 'tenant'
    and job.dedupe_key = asked.value ->> 'key'
    and job.dedupe_key is not null
    and job.ended_at is null
