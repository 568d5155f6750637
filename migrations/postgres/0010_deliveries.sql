-- postgres: results that leave the store for a queue, each with a row that says where it stands; and
-- messages of queues that are kept until their jobs have ended.
-- Compatible from: 5. It only adds. An earlier release beside it knows no reply: a job that it ends
-- gets no delivery, and a document with `reply_to` is rejected by it. So use `reply_to` once the
-- workers of earlier releases are replaced.
-- Lock: access exclusive on quarrier.job and quarrier.job_spec for the moment in which columns without
-- a default, or with a constant one, are added; no row is written, and the tables are new.
-- Time at 10 million jobs: the same, some milliseconds.

alter table quarrier.job add column reply boolean not null default false;
comment on column quarrier.job.reply is 'Its result goes to a queue: its end makes a delivery.';

alter table quarrier.job_spec add column reply_to text, add column trace text;
comment on column quarrier.job_spec.reply_to is
    'The queue that its result goes to, by URL or name; null = none, or it was deleted.';
comment on column quarrier.job_spec.trace is
    'The producer''s trace: a traceparent, or what AWSTraceHeader said.';

create table quarrier.delivery (
    job_id     uuid primary key,
    seq        bigint not null,
    next_at    timestamptz,
    due_since  timestamptz not null,
    created_at timestamptz not null,
    ended_at   timestamptz,
    tries      integer not null default 0,
    taken      boolean not null default false,
    state      text not null default 'due' check (state in ('due', 'delivered', 'undeliverable')),
    reply_to   text not null,
    error      text
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000
);
create index delivery_due on quarrier.delivery (next_at) where state = 'due';
create index delivery_given_up on quarrier.delivery (seq) where state = 'undeliverable';
create unique index delivery_seq on quarrier.delivery (seq);
comment on table quarrier.delivery is
    'One row a result that goes to a queue, made by the transaction that ended its job.';
comment on column quarrier.delivery.job_id is 'Of quarrier.job.';
comment on column quarrier.delivery.seq is 'Of quarrier.result.';
comment on column quarrier.delivery.next_at is
    'Tried then: at once, after a failed try, or when whoever took it has not said what became of it.';
comment on column quarrier.delivery.due_since is
    'Since when it waits: the end of its job, or when a person made it due again.';
comment on column quarrier.delivery.created_at is 'The end of its job.';
comment on column quarrier.delivery.ended_at is 'When the queue had it, or when it was given up.';
comment on column quarrier.delivery.tries is 'How often it was tried since it waits.';
comment on column quarrier.delivery.taken is
    'Somebody has taken it since it waits: what became of an earlier one is not said of this one.';
comment on column quarrier.delivery.state is 'due delivered undeliverable.';
comment on column quarrier.delivery.reply_to is 'The queue, by URL or name.';
comment on column quarrier.delivery.error is 'Why the last try failed.';

create table quarrier.intake (
    queue       text not null,
    message_id  text not null,
    job_id      uuid not null,
    received_at timestamptz not null,
    receipt     text not null,
    primary key (queue, message_id)
) with (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000
);
create index intake_oldest on quarrier.intake (queue, received_at, message_id);
comment on table quarrier.intake is
    'Messages whose jobs are here and that are deleted once those have ended and were answered.';
comment on column quarrier.intake.queue is 'The ARN of its queue.';
comment on column quarrier.intake.message_id is 'The queue''s id of it.';
comment on column quarrier.intake.job_id is 'Of quarrier.job, which may be deleted.';
comment on column quarrier.intake.received_at is
    'When its receipt was given, by the clock of the machine that received it.';
comment on column quarrier.intake.receipt is 'The latest.';

create view quarrier.deliveries as
select
    delivery.seq, delivery.job_id, job.external_id, job.tenant, delivery.reply_to, delivery.state,
    delivery.tries, delivery.next_at as due_at, delivery.error, delivery.created_at,
    delivery.ended_at
from quarrier.delivery
join quarrier.job on job.id = delivery.job_id;
comment on view quarrier.deliveries is 'Every result that goes to a queue, and where it stands.';
comment on column quarrier.deliveries.seq is 'The order of its job''s end, as in quarrier.results.';
comment on column quarrier.deliveries.job_id is 'Its job.';
comment on column quarrier.deliveries.external_id is 'The producer''s id, the document''s `id`.';
comment on column quarrier.deliveries.tenant is 'Whose job.';
comment on column quarrier.deliveries.reply_to is 'The queue that it goes to, as the document names it.';
comment on column quarrier.deliveries.state is
    'due (to be sent, perhaps again), delivered, or undeliverable (given up: a person must act).';
comment on column quarrier.deliveries.tries is 'How often it was tried.';
comment on column quarrier.deliveries.due_at is 'When it is tried next, while it is due.';
comment on column quarrier.deliveries.error is 'Why the last try failed.';
comment on column quarrier.deliveries.created_at is 'When it was made: its job''s end.';
comment on column quarrier.deliveries.ended_at is 'When it was delivered or given up.';

-- As in migration 2, but that a document may say where its result goes.
create or replace function quarrier.refusal(document jsonb, bytes integer) returns text
language sql immutable parallel safe
as $$
    select case
        when document is null or jsonb_typeof(document) <> 'object' then
            '$: is no JSON object; give one job document'
        when bytes > 1048576 then
            '$: has ' || bytes::text || ' bytes as text and 1048576 is the most; shorten it'
        when document - array[
                'version', 'id', 'queue', 'model', 'family', 'api', 'system', 'prompt', 'messages',
                'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop', 'priority',
                'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant', 'metadata', 'labels',
                'if_outcome_unknown', 'attachments', 'reply_to'
            ] <> '{}' then
            '$.' || (jsonb_path_query_first(
                document - array[
                    'version', 'id', 'queue', 'model', 'family', 'api', 'system', 'prompt',
                    'messages', 'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop',
                    'priority', 'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant',
                    'metadata', 'labels', 'if_outcome_unknown', 'attachments', 'reply_to'
                ], '$.keyvalue().key') #>> '{}')
            || ': is no field of a job document; leave it out, or put it into metadata'
        when document ->> 'prompt' is null and document ->> 'messages' is null then
            '$.prompt: is missing; give prompt or messages'
        when document ->> 'prompt' is not null and document ->> 'messages' is not null then
            '$.prompt: stands beside messages; give one of the two'
        when document ->> 'prompt' is not null and jsonb_typeof(document -> 'prompt') <> 'string' then
            '$.prompt: is no string; give the text, or messages'
        when document ->> 'messages' is not null and jsonb_typeof(document -> 'messages') <> 'array' then
            '$.messages: is no list; give a list of turns'
        when document ->> 'id' is not null and (
            jsonb_typeof(document -> 'id') <> 'string'
            or length(document ->> 'id') not between 1 and 256
        ) then
            '$.id: is no string of 1 to 256 characters; shorten it, or leave it out'
        when document ->> 'tenant' is not null and (
            jsonb_typeof(document -> 'tenant') <> 'string'
            or length(document ->> 'tenant') not between 1 and 256
        ) then
            '$.tenant: is no string of 1 to 256 characters; shorten it, or leave it out'
    end
$$;

-- As in migration 7, but for the same.
create or replace function quarrier.is_usual(document jsonb) returns boolean
language sql immutable parallel safe
as $$
    select case
        when case
            when pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'prompt')
                operator(pg_catalog.=) 'string'
            then not document operator(pg_catalog.?) 'messages'
            else not document operator(pg_catalog.?) 'prompt'
                and pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'messages')
                    operator(pg_catalog.=) 'array'
        end then
            document operator(pg_catalog.-) array[
                'version', 'queue', 'model', 'family', 'api', 'system', 'prompt', 'messages',
                'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop', 'priority',
                'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant', 'metadata', 'labels',
                'if_outcome_unknown', 'attachments', 'reply_to'
            ] operator(pg_catalog.=) '{}'
            and case
                when document operator(pg_catalog.?) 'tenant' then
                    pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'tenant')
                        operator(pg_catalog.=) 'string'
                    and pg_catalog.length(document operator(pg_catalog.->>) 'tenant')
                        operator(pg_catalog.>=) 1
                    and pg_catalog.length(document operator(pg_catalog.->>) 'tenant')
                        operator(pg_catalog.<=) 256
                else true
            end
    end
$$;

-- As in migration 2, but that readers see deliveries.
create or replace function quarrier.grant_roles() returns text
language plpgsql volatile
as $$
declare
    missing text[] := '{}';
begin
    if exists (select from pg_roles where rolname = 'quarrier_producer') then
        grant usage on schema quarrier to quarrier_producer;
        grant execute on function quarrier.enqueue(jsonb), quarrier.enqueue_many(jsonb[])
        to quarrier_producer;
    else
        missing := missing || text 'quarrier_producer';
    end if;
    if exists (select from pg_roles where rolname = 'quarrier_reader') then
        grant usage on schema quarrier to quarrier_reader;
        grant select on quarrier.jobs, quarrier.results, quarrier.deliveries to quarrier_reader;
    else
        missing := missing || text 'quarrier_reader';
    end if;
    if missing = '{}' then
        return 'quarrier_producer may enqueue, quarrier_reader may read';
    end if;
    return 'missing: ' || array_to_string(missing, ', ')
        || '; let somebody with CREATEROLE create them (nologin), then call this again';
end
$$;

do $$
begin
    if exists (select from pg_roles where rolname = 'quarrier_reader') then
        grant select on quarrier.deliveries to quarrier_reader;
    end if;
end
$$;
