-- sqlite: what people see: two views, the stable way to read, which say why a job's texts are not
-- there; and with which queues, tenants and days of retention each process was configured. No row is
-- written, so the time at 10 million jobs is some milliseconds under the write lock.

create view jobs as
select
    job.id, job.external_id, job.state, job.tenant, job.queue, job.model, job.lane, job.priority,
    job.created_at, job.run_at, job.deadline_at, job.ended_at, job.reason,
    job.calls, job.failures, job.reasks, job.crashes, job.throttles, job.dedupe_key,
    job_spec.document,
    job.bodies_gone_at as deleted_at, job.bodies_gone_by as deleted_by
from job
left join job_spec on job_spec.job_id = job.id;

-- Each sum by itself, so that one that nobody asks for is not made.
create view results as
select
    result.seq, result.job_id, job.external_id, result.state, job.tenant, job.queue, job.model,
    result.output, result.text, result.error_kind, result.error_message, result.provenance,
    result.ended_at,
    (select coalesce(sum(input_tokens), 0) from attempt where attempt.job_id = result.job_id)
        as input_tokens,
    (select coalesce(sum(output_tokens), 0) from attempt where attempt.job_id = result.job_id)
        as output_tokens,
    (select coalesce(sum(cache_read), 0) from attempt where attempt.job_id = result.job_id)
        as cache_read,
    (select coalesce(sum(cache_write), 0) from attempt where attempt.job_id = result.job_id)
        as cache_write,
    (select sum(cost_micros) from attempt where attempt.job_id = result.job_id) as cost_micros,
    (
        select count(*) from attempt
        where attempt.job_id = result.job_id and outcome is not 'not_sent'
    ) as attempts,
    (
        select count(*) from attempt
        where attempt.job_id = result.job_id and (outcome is null or outcome in ('unknown', 'cut'))
    ) as attempts_unknown,
    job_spec.document -> '$.metadata' as metadata,
    job.bodies_gone_at as deleted_at, job.bodies_gone_by as deleted_by
from result
join job on job.id = result.job_id
left join job_spec on job_spec.job_id = result.job_id;

alter table limit_seed add column settings text;  -- JSON: its queues, tenants, days of retention
