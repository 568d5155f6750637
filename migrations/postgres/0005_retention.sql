-- postgres: what is deleted when its time is over or its tenant asks for it, and what is kept of it:
-- the money, and a receipt.
-- Compatible from: 4. It only adds: an earlier release beside it deletes nothing, and may store a
-- late answer of an erased job, so let none of them run when a tenant is erased.
-- Lock: access exclusive on quarrier.job for the moment in which two columns without a default are
-- added; no row is written. Time at 10 million jobs: the same, some milliseconds.

alter table quarrier.job
    add column bodies_gone_at timestamptz,
    add column bodies_gone_by text check (bodies_gone_by in ('retention', 'erasure'));
comment on column quarrier.job.bodies_gone_at is
    'When its document, its answers and its calls'' texts were deleted; null = they are there.';
comment on column quarrier.job.bodies_gone_by is 'retention or erasure.';

create table quarrier.retention (
    stage        text primary key,
    after_seq    bigint not null default 0,
    policy       text not null default '',
    restarted_at timestamptz not null default '-infinity'
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
insert into quarrier.retention (stage) values ('bodies'), ('jobs');
comment on table quarrier.retention is
    'How far retention has come. Who deletes holds the lock of its stage''s row.';
comment on column quarrier.retention.stage is 'bodies or jobs.';
comment on column quarrier.retention.after_seq is 'Of the last result that it has looked at.';
comment on column quarrier.retention.policy is 'JSON: the days by which it looked.';
comment on column quarrier.retention.restarted_at is
    'When it last began with the oldest result: each day, and when the days change.';

create table quarrier.spent (
    day              date not null,
    queue            text not null,
    tenant           text not null,
    model            text not null,
    calls            bigint not null,
    calls_unpriced   bigint not null,
    input_tokens     bigint not null,
    output_tokens    bigint not null,
    cache_read       bigint not null,
    cache_write      bigint not null,
    cost_micros      bigint not null,
    primary key (day, queue, tenant, model)
);
comment on table quarrier.spent is
    'What the attempts of deleted jobs took; those of jobs that are there are not in it.';
comment on column quarrier.spent.day is 'On which the calls were claimed, in UTC.';
comment on column quarrier.spent.queue is 'Of their jobs.';
comment on column quarrier.spent.tenant is 'Of their jobs.';
comment on column quarrier.spent.model is 'Of their jobs.';
comment on column quarrier.spent.calls is 'Attempts, the unsent not counted.';
comment on column quarrier.spent.calls_unpriced is 'Those of them whose cost nobody knows.';
comment on column quarrier.spent.input_tokens is 'As the provider counted.';
comment on column quarrier.spent.output_tokens is 'As the provider counted.';
comment on column quarrier.spent.cache_read is 'As the provider counted, in tokens.';
comment on column quarrier.spent.cache_write is 'As the provider counted, in tokens.';
comment on column quarrier.spent.cost_micros is 'The known part, in micro-dollars.';

create table quarrier.erasure (
    id         uuid primary key,
    tenant     text not null,
    asked_by   text not null,
    started_at timestamptz not null,
    done_at    timestamptz,
    after_job  uuid not null default '00000000-0000-0000-0000-000000000000',
    counts     text not null
);
create unique index erasure_open on quarrier.erasure (tenant) where done_at is null;
comment on table quarrier.erasure is 'The receipts of erased tenants.';
comment on column quarrier.erasure.id is 'Ours.';
comment on column quarrier.erasure.tenant is 'Whose content was deleted.';
comment on column quarrier.erasure.asked_by is 'Who asked for it.';
comment on column quarrier.erasure.started_at is 'What was admitted later is new, and stays.';
comment on column quarrier.erasure.done_at is 'Null while it is under way, or was broken off.';
comment on column quarrier.erasure.after_job is 'The last job that it has looked at.';
comment on column quarrier.erasure.counts is 'JSON: how much of what was deleted.';

-- As in migration 2, but for a document that was deleted: whoever has its id is taken at his word.
create or replace function quarrier.known_as(
    own uuid[], tenant text, external_id text, document jsonb
)
returns uuid
language plpgsql volatile
as $$
declare
    admitted record;
    waiting record;
begin
    select submission.job_id, quarrier.jsonb_or_null(submission.document) as document into waiting
    from quarrier.submission
    where submission.tenant = known_as.tenant and submission.external_id = known_as.external_id;
    select
        seen.job_id,
        case
            when coalesce(job_spec.document, 'null') = 'null' then true
            else quarrier.same_document(
                quarrier.jsonb_or_null(job_spec.document), known_as.document
            )
        end as is_same
    into admitted
    from quarrier.seen
    left join quarrier.job_spec on job_spec.job_id = seen.job_id
    where seen.tenant = known_as.tenant and seen.identity = 'id:' || known_as.external_id;
    if admitted.is_same then
        delete from quarrier.submission
        where submission.job_id = waiting.job_id and submission.job_id = any(own);
        return admitted.job_id;
    end if;
    if waiting.job_id = any(own) or quarrier.same_document(waiting.document, known_as.document) then
        return waiting.job_id;
    end if;
    -- What waited was rejected meanwhile, which leaves its id free.
    if waiting.job_id is null and admitted.job_id is null then
        return null;
    end if;
    raise exception using
        errcode = 'invalid_parameter_value',
        message = '$.id: ' || quote_literal(external_id) || ' belongs to another document, job '
            || coalesce(waiting.job_id, admitted.job_id)::text
            || '; give another id, or send the same document';
end
$$;
