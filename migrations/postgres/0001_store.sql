-- postgres: the whole store, in the schema `quarrier`, which must be there. Needs no extension and
-- no superuser; Postgres 13 or newer.
-- Lock: none that anybody waits for, every table is new. Time at 10 million jobs: the same, none.
--
-- Times that people read are timestamptz; the engine reads and writes them as Unix milliseconds,
-- by the two functions below. Money is in micro-dollars, tokens are counts.

create function quarrier.ms(timestamptz) returns bigint
language sql stable strict parallel safe
as $$ select (extract(epoch from $1) * 1000)::bigint $$;
comment on function quarrier.ms is 'A time as Unix milliseconds.';

create function quarrier.at(bigint) returns timestamptz
language sql immutable strict parallel safe
as $$ select to_timestamp($1::double precision / 1000) $$;
comment on function quarrier.at is 'Unix milliseconds as a time.';

create function quarrier.jsonb_or_null(text) returns jsonb
language plpgsql immutable strict parallel safe
as $$
begin
    return $1::jsonb;
exception when others then
    return null;
end
$$;
comment on function quarrier.jsonb_or_null is
    'A JSON text as jsonb; null where jsonb cannot hold it (\u0000, a number too large) or it is no JSON.';

create table quarrier.meta (
    key   text primary key,
    value text not null
);
comment on table quarrier.meta is 'What this store is.';
comment on column quarrier.meta.key is 'simulated: written by the first who works here.';
comment on column quarrier.meta.value is 'true or false.';

-- The hot row: what claiming, ordering and counting need, and nothing else. A job is written about
-- three times in its life; free room on each page keeps the versions together.
create table quarrier.job (
    id               uuid primary key,
    lease_id         uuid,
    fence            uuid,
    place            double precision,
    run_at           timestamptz not null,
    deadline_at      timestamptz not null,
    created_at       timestamptz not null,
    ended_at         timestamptz,
    input_tokens_max bigint not null,
    max_tokens       bigint not null,
    priority         integer not null,
    burndown         integer not null,
    max_attempts     integer,
    calls            integer not null default 0,
    failures         integer not null default 0,
    reasks           integer not null default 0,
    crashes          integer not null default 0,
    throttles        integer not null default 0,
    due              boolean not null,
    hold             boolean not null,
    state            text not null check (state in
        ('submitted', 'ready', 'running', 'held', 'succeeded', 'failed', 'cancelled', 'expired')),
    tenant           text not null,
    queue            text not null,
    lane             text not null,
    model            text not null,
    external_id      text,
    dedupe_key       text,
    reason           text
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);
comment on table quarrier.job is
    'One row a job: where it stands. Read the view quarrier.jobs; this table may change.';
comment on column quarrier.job.id is 'Our id, a UUID version 7: in the order of admission.';
comment on column quarrier.job.lease_id is 'Of the process that runs it.';
comment on column quarrier.job.fence is 'Of the running attempt.';
comment on column quarrier.job.place is 'Its order in the lane, fixed when it first becomes due.';
comment on column quarrier.job.run_at is 'Not called before.';
comment on column quarrier.job.deadline_at is 'Expired after, unless it runs.';
comment on column quarrier.job.created_at is 'When it was admitted.';
comment on column quarrier.job.ended_at is 'When it reached its terminal state.';
comment on column quarrier.job.input_tokens_max is 'An upper bound of the next call''s input.';
comment on column quarrier.job.max_tokens is 'The longest answer, in tokens.';
comment on column quarrier.job.priority is '-100 to 100, higher is sooner.';
comment on column quarrier.job.burndown is 'Quota tokens that one token of an answer costs.';
comment on column quarrier.job.max_attempts is 'How many calls may fail, where the document says so.';
comment on column quarrier.job.calls is 'Attempts claimed so far.';
comment on column quarrier.job.failures is 'Calls that failed.';
comment on column quarrier.job.reasks is 'Answers that were shown to the model again.';
comment on column quarrier.job.crashes is 'Workers that died in the middle of its calls.';
comment on column quarrier.job.throttles is 'Calls that the provider throttled.';
comment on column quarrier.job.due is 'Its time has come and it has its place.';
comment on column quarrier.job.hold is 'It waits for a person when an outcome is unknown.';
comment on column quarrier.job.state is
    'submitted ready running held succeeded failed cancelled expired; the last four are terminal.';
comment on column quarrier.job.tenant is 'Whose it is.';
comment on column quarrier.job.queue is 'Its named queue.';
comment on column quarrier.job.lane is 'Provider, region or profile, and model.';
comment on column quarrier.job.model is 'The model''s alias, or its id where the catalogue has none.';
comment on column quarrier.job.external_id is 'The producer''s id.';
comment on column quarrier.job.dedupe_key is 'Unique per tenant among jobs that have not ended.';
comment on column quarrier.job.reason is 'The error''s kind with which it waits or ended.';

create index job_ready on quarrier.job (lane, place) where state = 'ready' and due;
create index job_waiting on quarrier.job (run_at) where state = 'ready' and not due;
create index job_running on quarrier.job (lease_id) where state = 'running';
-- A running job is judged by its finish, so it needs no entry here.
create index job_deadline on quarrier.job (deadline_at) where state in ('ready', 'held');
create unique index job_dedupe on quarrier.job (tenant, dedupe_key)
    where dedupe_key is not null and ended_at is null;

create table quarrier.job_spec (
    job_id      uuid primary key,
    document    text not null,
    metadata    text,
    resolved    text,
    reask       text,
    external_id text
) with (autovacuum_vacuum_scale_factor = 0.05);
-- Here and not on the job: each change of a job's state would write into this index again, and
-- producers' ids are in no order that would keep those writes together. It made half of what a
-- claim and a finish cost.
create index job_spec_external on quarrier.job_spec (external_id) where external_id is not null;
comment on table quarrier.job_spec is 'What is read once a call, beside the hot row.';
comment on column quarrier.job_spec.job_id is 'Of quarrier.job.';
comment on column quarrier.job_spec.document is
    'The canonical document, JSON as text: jsonb would change 1e2 and refuse \u0000.';
comment on column quarrier.job_spec.metadata is 'The document''s metadata, JSON as text.';
comment on column quarrier.job_spec.resolved is
    'What admission settled, JSON; null where the document was rejected.';
comment on column quarrier.job_spec.external_id is 'The producer''s id, by which the job is looked up.';
comment on column quarrier.job_spec.reask is
    'JSON: the answer and the errors that the next call shows to the model again.';

create table quarrier.attempt (
    job_id          uuid not null,
    fence           uuid not null,
    lease_id        uuid not null,
    started_at      timestamptz not null,
    finished_at     timestamptz,
    reserved_tokens bigint not null,
    settled_tokens  bigint,
    input_tokens    bigint,
    output_tokens   bigint,
    cache_read      bigint,
    cache_write     bigint,
    cost_micros     bigint,
    first_token_ms  bigint,
    total_ms        bigint,
    slot            bigint not null,
    number          integer not null,
    keys            text[] not null,
    outcome         text check (outcome in
        ('completed', 'throttled', 'refused', 'cut', 'unknown', 'not_sent')),
    error_kind      text,
    error_message   text,
    request_id      text,
    stop            text,
    primary key (job_id, number)
) with (
    -- A finish adds about as much as the claim wrote: with room for it on the same page the index
    -- is not touched again.
    fillfactor = 45,
    autovacuum_vacuum_scale_factor = 0.05
);
comment on table quarrier.attempt is 'One row a call; there before the call leaves.';
comment on column quarrier.attempt.job_id is 'Of quarrier.job.';
comment on column quarrier.attempt.fence is 'Its token: a finish must bring it.';
comment on column quarrier.attempt.lease_id is 'Of the process that claimed it.';
comment on column quarrier.attempt.started_at is 'When it was claimed.';
comment on column quarrier.attempt.finished_at is 'When its end was recorded.';
comment on column quarrier.attempt.reserved_tokens is 'Quota tokens reserved.';
comment on column quarrier.attempt.settled_tokens is 'Quota tokens taken; null while the reservation stands.';
comment on column quarrier.attempt.input_tokens is 'As the provider counted.';
comment on column quarrier.attempt.output_tokens is 'As the provider counted.';
comment on column quarrier.attempt.cache_read is 'As the provider counted, in tokens.';
comment on column quarrier.attempt.cache_write is 'As the provider counted, in tokens.';
comment on column quarrier.attempt.cost_micros is 'In micro-dollars; null where unknown, never 0 for it.';
comment on column quarrier.attempt.first_token_ms is 'Milliseconds from the call to its first text.';
comment on column quarrier.attempt.total_ms is 'Milliseconds from the call to its end.';
comment on column quarrier.attempt.slot is 'Of the budget''s ring, in lane time.';
comment on column quarrier.attempt.number is 'From 1.';
comment on column quarrier.attempt.keys is 'The budget keys that it draws on.';
comment on column quarrier.attempt.outcome is
    'completed throttled refused cut unknown not_sent; null while in flight.';
comment on column quarrier.attempt.error_kind is 'What failed.';
comment on column quarrier.attempt.error_message is 'In words.';
comment on column quarrier.attempt.request_id is 'The provider''s.';
comment on column quarrier.attempt.stop is 'Why the model stopped.';

create table quarrier.attempt_body (
    job_id        uuid not null,
    number        integer not null,
    raw_text      text,
    raw_bytes     bytea,
    schema_errors text,
    primary key (job_id, number)
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table quarrier.attempt_body is 'What the model said in a call, whole or as far as it came.';
comment on column quarrier.attempt_body.job_id is 'Of quarrier.attempt.';
comment on column quarrier.attempt_body.number is 'Of quarrier.attempt.';
comment on column quarrier.attempt_body.raw_text is 'The text; NUL, which text cannot hold, shown as U+FFFD.';
comment on column quarrier.attempt_body.raw_bytes is 'The exact text in UTF-8, where it holds NUL.';
comment on column quarrier.attempt_body.schema_errors is 'A JSON list, where the answer did not fit.';

-- Numbers are given under the lock of `result_order`, which is held until the commit: so they
-- ascend in the order of commits, and whoever reads on from a number misses nothing.
create table quarrier.result (
    seq           bigint generated always as identity primary key,
    job_id        uuid not null unique,
    ended_at      timestamptz not null,
    state         text not null,
    output        text,
    text          text,
    text_bytes    bytea,
    error_kind    text,
    error_message text,
    provenance    text
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table quarrier.result is
    'One row a terminal job. Read the view quarrier.results; this table may change.';
comment on column quarrier.result.seq is 'The order of the ends.';
comment on column quarrier.result.job_id is 'Of quarrier.job.';
comment on column quarrier.result.ended_at is 'When it ended.';
comment on column quarrier.result.state is 'succeeded failed cancelled expired.';
comment on column quarrier.result.output is
    'The validated JSON text as the model wrote it, where the job has a schema.';
comment on column quarrier.result.text is
    'The answer, where the job has no schema; NUL shown as U+FFFD.';
comment on column quarrier.result.text_bytes is 'The exact answer in UTF-8, where it holds NUL.';
comment on column quarrier.result.error_kind is 'What failed.';
comment on column quarrier.result.error_message is 'In words.';
comment on column quarrier.result.provenance is 'native, tool, extracted, repaired:[...], reasked:n.';

create table quarrier.result_order (
    one integer primary key check (one = 1)
);
insert into quarrier.result_order values (1);
comment on table quarrier.result_order is 'The lock under which results get their numbers.';
comment on column quarrier.result_order.one is 'There is one row, which is never updated.';

create table quarrier.lane (
    key          text primary key,
    paused_until timestamptz not null default '-infinity',
    pause_reason text
) with (fillfactor = 50);
comment on table quarrier.lane is 'Who keeps a lane waiting.';
comment on column quarrier.lane.key is 'The lane''s name.';
comment on column quarrier.lane.paused_until is 'Nobody calls it before.';
comment on column quarrier.lane.pause_reason is 'The error''s kind that paused it.';

create table quarrier.lane_tenant (
    lane   text not null,
    tenant text not null,
    place  double precision not null,
    weight double precision not null default 1,
    primary key (lane, tenant)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
comment on table quarrier.lane_tenant is 'Turns within a lane.';
comment on column quarrier.lane_tenant.lane is 'The lane''s name.';
comment on column quarrier.lane_tenant.tenant is 'Whose turn.';
comment on column quarrier.lane_tenant.place is 'The last one given to this tenant.';
comment on column quarrier.lane_tenant.weight is 'How many turns it has for one of another''s.';

create table quarrier.budget_key (
    key text primary key
);
comment on table quarrier.budget_key is
    'The lock of each budget key. Rows are locked in the order of their keys and never updated.';
comment on column quarrier.budget_key.key is 'total, lane:..., queue:..., tenant:...';

-- Appended and never updated: under a snapshot that somebody holds for long, the versions of an
-- updated row are walked one by one, while the newest appended one is found at the index's end.
create table quarrier.budget (
    key   text not null,
    seq   bigint generated always as identity,
    place double precision not null,
    state text not null,
    primary key (key, seq)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
-- In the row, compressed where it is long; elsewhere only where a page could not hold it.
alter table quarrier.budget alter column state set storage main;
comment on table quarrier.budget is
    'The states of the budget; the last of each key holds, earlier ones are deleted in ranges.';
comment on column quarrier.budget.key is 'Of quarrier.budget_key.';
comment on column quarrier.budget.seq is 'Ascending within a key.';
comment on column quarrier.budget.place is 'Of a lane: the place of the last job claimed.';
comment on column quarrier.budget.state is 'JSON: what the calls of the last minute have drawn.';

create table quarrier.lane_clock (
    one   integer primary key check (one = 1),
    clock text not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table quarrier.lane_clock is
    'The budget''s time, which never goes back; each process writes it about once a second.';
comment on column quarrier.lane_clock.one is 'There is one row.';
comment on column quarrier.lane_clock.clock is 'JSON: lane time and the wall clock at the last contact.';

create table quarrier.limit_rule (
    pattern             text primary key,
    requests_per_minute bigint,
    tokens_per_minute   bigint,
    origin              text not null
);
comment on table quarrier.limit_rule is 'What users allow.';
comment on column quarrier.limit_rule.pattern is
    'total, lane:PATTERN, queue:PATTERN or tenant:PATTERN, with * and ?.';
comment on column quarrier.limit_rule.requests_per_minute is 'Calls; null = not limited.';
comment on column quarrier.limit_rule.tokens_per_minute is 'Tokens; null = not limited.';
comment on column quarrier.limit_rule.origin is 'configuration, flag or set.';

create table quarrier.lease (
    id         uuid primary key,
    beat       bigint not null,
    pid        bigint not null,
    started_at timestamptz not null,
    host       text not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table quarrier.lease is 'A process at work. A rescuer must itself see its beat stand still.';
comment on column quarrier.lease.id is 'Fresh for each process.';
comment on column quarrier.lease.beat is 'Advanced by its process.';
comment on column quarrier.lease.pid is 'The process''s number on its machine.';
comment on column quarrier.lease.started_at is 'When it began.';
comment on column quarrier.lease.host is 'The machine''s name.';

create table quarrier.seen (
    tenant        text not null,
    identity      text not null,
    job_id        uuid not null,
    expires_at    timestamptz not null,
    document_hash text not null,
    primary key (tenant, identity)
);
comment on table quarrier.seen is 'Identities outlive their jobs.';
comment on column quarrier.seen.tenant is 'Whose.';
comment on column quarrier.seen.identity is 'id:..., line:... or submission:..., by the door that gave it.';
comment on column quarrier.seen.job_id is 'The job that has it.';
comment on column quarrier.seen.expires_at is 'Forgotten after, once the job has ended.';
comment on column quarrier.seen.document_hash is 'SHA-256 of the canonical document, in hex.';
create index seen_expires on quarrier.seen (expires_at);

create table quarrier.submission (
    id       text primary key,
    seq      bigint generated always as identity,
    document text not null
) with (autovacuum_vacuum_scale_factor = 0.02);
comment on table quarrier.submission is
    'The door for programs in other languages: insert a document, and a worker admits it.';
comment on column quarrier.submission.id is 'The producer''s; a job''s identity where its document has no id.';
comment on column quarrier.submission.seq is 'The order of arrival.';
comment on column quarrier.submission.document is 'A job document, JSON.';
create unique index submission_seq on quarrier.submission (seq);

create table quarrier.batch (
    id         uuid primary key,
    name       text not null unique,
    created_at timestamptz not null
);
comment on table quarrier.batch is 'A file of jobs.';
comment on column quarrier.batch.id is 'Ours.';
comment on column quarrier.batch.name is 'The producer''s.';
comment on column quarrier.batch.created_at is 'When it was first opened.';

create table quarrier.batch_line (
    batch_id uuid not null,
    job_id   uuid not null,
    line     bigint not null,
    primary key (batch_id, line)
);
comment on table quarrier.batch_line is 'Which job each line of a batch is.';
comment on column quarrier.batch_line.batch_id is 'Of quarrier.batch.';
comment on column quarrier.batch_line.job_id is 'Of quarrier.job.';
comment on column quarrier.batch_line.line is 'From 1.';
create index batch_line_job on quarrier.batch_line (job_id, batch_id);

-- What users and their programs read. Columns are added at the end; none is taken away. The
-- producer's id is taken from where its index is, so that asking for one job reads one row.

create view quarrier.jobs as
select
    job.id, job_spec.external_id, job.state, job.tenant, job.queue, job.model, job.lane, job.priority,
    job.created_at, job.run_at, job.deadline_at, job.ended_at, job.reason,
    job.calls, job.failures, job.reasks, job.crashes, job.throttles, job.dedupe_key,
    quarrier.jsonb_or_null(job_spec.document) as document
from quarrier.job
left join quarrier.job_spec on job_spec.job_id = job.id;
comment on view quarrier.jobs is 'Every job with its document; the stable way to read them.';

create view quarrier.results as
select
    result.seq, result.job_id, job_spec.external_id, result.state, job.tenant, job.queue, job.model,
    result.output, quarrier.jsonb_or_null(result.output) as output_jsonb, result.text,
    result.error_kind, result.error_message, result.provenance, result.ended_at,
    used.input_tokens, used.output_tokens, used.cache_read, used.cache_write, used.cost_micros,
    used.attempts, used.attempts_unknown,
    quarrier.jsonb_or_null(job_spec.metadata) as metadata
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
comment on view quarrier.results is
    'Every terminal job with its result, use and cost; output_jsonb is null where jsonb cannot hold the output.';
