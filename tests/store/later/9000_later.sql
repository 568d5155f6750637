-- postgres: for the tests alone: what a later release may add while this one works.
-- Compatible from: 8. It only adds: columns with constant defaults on the busiest tables, an index, a
-- table, a wider view, and a check that what this release writes meets.
-- Lock: access exclusive for a moment. Time at 10 million jobs: not for such stores.

alter table quarrier.job add column later_flag boolean not null default false;
alter table quarrier.attempt add column later_note text, add column later_count integer not null default 0;
alter table quarrier.result add column later_note text default 'none';
alter table quarrier.lease add column later_at timestamptz not null default clock_timestamp();
alter table quarrier.budget add column later_note text;
alter table quarrier.limit_rule add column later_rate bigint;
create index later_ended on quarrier.job (ended_at) where later_flag;
alter table quarrier.attempt add constraint later_counted check (later_count >= 0);
create table quarrier.later (job_id uuid primary key, noted_at timestamptz not null default now());
comment on table quarrier.later is 'Of a later release.';
create or replace view quarrier.jobs as
select
    job.id, job_spec.external_id, job.state, job.tenant, job.queue, job.model, job.lane, job.priority,
    job.created_at, job.run_at, job.deadline_at, job.ended_at, job.reason,
    job.calls, job.failures, job.reasks, job.crashes, job.throttles, job.dedupe_key,
    quarrier.jsonb_or_null(job_spec.document) as document,
    job.bodies_gone_at as deleted_at, job.bodies_gone_by as deleted_by, job.later_flag
from quarrier.job
left join quarrier.job_spec on job_spec.job_id = job.id
union all
select
    submission.job_id, submission.external_id, 'submitted', submission.tenant, null, null, null, null,
    submission.submitted_at, null, null, null, null, 0, 0, 0, 0, 0, null,
    quarrier.jsonb_or_null(submission.document), null, null, false
from quarrier.submission;
