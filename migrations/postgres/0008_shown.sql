-- postgres: what people see: why a job's texts are not there, and with which queues, tenants and days
-- of retention each process was configured.
-- Compatible from: 4. It only adds, and what it adds may be left out by those who write.
-- Lock: access exclusive on the two views, and on limit_seed, which has a row for each process, for
-- the moment in which a column without a default is added. Time at 10 million jobs: the same, some
-- milliseconds.

create or replace view quarrier.jobs as
select
    job.id, job_spec.external_id, job.state, job.tenant, job.queue, job.model, job.lane, job.priority,
    job.created_at, job.run_at, job.deadline_at, job.ended_at, job.reason,
    job.calls, job.failures, job.reasks, job.crashes, job.throttles, job.dedupe_key,
    quarrier.jsonb_or_null(job_spec.document) as document,
    job.bodies_gone_at as deleted_at, job.bodies_gone_by as deleted_by
from quarrier.job
left join quarrier.job_spec on job_spec.job_id = job.id
union all
select
    submission.job_id, coalesce(submission.external_id, read.document ->> 'id'), 'submitted',
    coalesce(submission.tenant, read.document ->> 'tenant'), read.document ->> 'queue',
    read.document ->> 'model', null, null,
    submission.submitted_at, null, null, null, null,
    0, 0, 0, 0, 0, read.document ->> 'dedupe_key',
    read.document, null, null
from quarrier.submission
cross join lateral (select quarrier.jsonb_or_null(submission.document) as document) as read;
comment on column quarrier.jobs.deleted_at is
    'When its document, answers and calls'' texts were deleted; null = they are there.';
comment on column quarrier.jobs.deleted_by is 'retention or erasure.';

create or replace view quarrier.results as
select
    result.seq, result.job_id, job_spec.external_id, result.state, job.tenant, job.queue, job.model,
    result.output, quarrier.jsonb_or_null(result.output) as output_jsonb, result.text,
    result.error_kind, result.error_message, result.provenance, result.ended_at,
    used.input_tokens, used.output_tokens, used.cache_read, used.cache_write, used.cost_micros,
    used.attempts, used.attempts_unknown,
    quarrier.jsonb_or_null(job_spec.metadata) as metadata,
    job.bodies_gone_at as deleted_at, job.bodies_gone_by as deleted_by
from quarrier.result
join quarrier.job on job.id = result.job_id
left join quarrier.job_spec on job_spec.job_id = result.job_id
left join lateral (
    select
        coalesce(sum(input_tokens), 0)::bigint as input_tokens,
        coalesce(sum(output_tokens), 0)::bigint as output_tokens,
        coalesce(sum(cache_read), 0)::bigint as cache_read,
        coalesce(sum(cache_write), 0)::bigint as cache_write,
        sum(cost_micros)::bigint as cost_micros,
        count(*) filter (where outcome is distinct from 'not_sent') as attempts,
        count(*) filter (where outcome is null or outcome in ('unknown', 'cut')) as attempts_unknown
    from quarrier.attempt
    where attempt.job_id = result.job_id
) as used on true;
comment on column quarrier.results.deleted_at is
    'When its output and text were deleted; null = what is null here was never there.';
comment on column quarrier.results.deleted_by is 'retention or erasure.';

alter table quarrier.limit_seed add column settings text;
comment on column quarrier.limit_seed.settings is
    'JSON: its queues, tenants and days of retention; null of an earlier release.';
