-- sqlite: a job that a person may put back: ended without success, or held; and its dedupe key is
-- not held by a live one.
select job.lane, job.queue, job.tenant, job.priority
from job
where
    job.id = ?1
    and job.state in ('failed', 'expired', 'cancelled', 'held')
    and exists (select 1 from job_spec where job_spec.job_id = job.id and resolved is not null)
    and not exists (
        select 1 from job as live
        where
            live.tenant = job.tenant and live.dedupe_key = job.dedupe_key
            and live.dedupe_key is not null and live.ended_at is null and live.id <> job.id
    )
