-- sqlite: the whole store. Times are Unix milliseconds, identifiers hyphenated UUIDs, money
-- micro-dollars, and every table that a claim or a finish touches is keyed without a rowid.

-- What this store is. `simulated` is 'true' or 'false' from its first job on.
create table meta (
    key   text primary key not null,
    value text not null
) without rowid;

-- The hot row: what claiming, ordering and counting need, and nothing else.
create table job (
    id               text    primary key not null,
    external_id      text,                        -- the producer's id
    tenant           text    not null,
    queue            text    not null,
    lane             text    not null,
    model            text    not null,            -- alias, or id outside the catalogue
    state            text    not null,            -- ready running held succeeded failed cancelled expired
    due              integer not null,            -- 1 once run_at has passed and a place is given
    place            real,                        -- its order in the lane, fixed when first due
    priority         integer not null,
    run_at           integer not null,
    deadline_at      integer not null,
    max_attempts     integer,
    hold             integer not null,            -- 1: if_outcome_unknown = hold
    input_tokens_max integer not null,
    max_tokens       integer not null,
    burndown         integer not null,
    calls            integer not null default 0,  -- attempts claimed so far
    failures         integer not null default 0,
    reasks           integer not null default 0,
    crashes          integer not null default 0,
    throttles        integer not null default 0,
    fence            text,                        -- of the running attempt
    lease_id         text,                        -- of the running attempt
    dedupe_key       text,
    reason           text,                        -- why it waits, or what it ended with
    created_at       integer not null,
    ended_at         integer
) without rowid;

create index job_ready on job (lane, place) where state = 'ready' and due = 1;
create index job_waiting on job (run_at) where state = 'ready' and due = 0;
create index job_running on job (lease_id) where state = 'running';
create index job_deadline on job (deadline_at) where ended_at is null;
create unique index job_dedupe on job (tenant, dedupe_key) where dedupe_key is not null and ended_at is null;
create index job_external on job (external_id) where external_id is not null;

-- What is read once a call: the document, and what admission made of it. Without a rowid, because
-- a second index cost a fifth of the queue's speed; rows over a kilobyte take a page of their own
-- for it.
create table job_spec (
    job_id   text primary key not null,
    document text not null,                       -- canonical JSON
    resolved text,                                -- JSON; null where the document was rejected
    reask    text                                 -- JSON: the answer and errors to show again
) without rowid;

-- One row a call. `outcome` is null while it is in flight.
create table attempt (
    job_id          text    not null,
    number          integer not null,
    fence           text    not null,
    lease_id        text    not null,
    started_at      integer not null,
    slot            integer not null,             -- of the budget's ring, in lane time
    keys            text    not null,             -- JSON list: the budget keys it draws on
    reserved_tokens integer not null,
    settled_tokens  integer,                      -- null while the reservation stands
    outcome         text,                         -- completed throttled refused cut unknown not_sent
    error_kind      text,
    error_message   text,
    finished_at     integer,
    input_tokens    integer,
    output_tokens   integer,
    cache_read      integer,
    cache_write     integer,
    cost_micros     integer,
    request_id      text,
    first_token_ms  integer,
    total_ms        integer,
    stop            text,
    primary key (job_id, number)
) without rowid;

-- What the model said, whole or as far as it came.
create table attempt_body (
    job_id        text    not null,
    number        integer not null,
    raw_text      text,
    schema_errors text,                           -- JSON list
    primary key (job_id, number)
) without rowid;

-- One row a terminal job, in the order of their ends.
create table result (
    seq           integer primary key autoincrement,
    job_id        text not null unique,
    state         text not null,
    output        text,                           -- the validated JSON text, as the model wrote it
    text          text,                           -- the answer, where the job has no schema
    error_kind    text,
    error_message text,
    provenance    text,
    ended_at      integer not null
);

-- The order within a lane, and who keeps it waiting.
create table lane (
    key          text primary key not null,
    place        real    not null default 0,      -- of the last job claimed
    paused_until integer not null default 0,
    pause_reason text
) without rowid;

create table lane_tenant (
    lane   text not null,
    tenant text not null,
    place  real not null,                         -- the last one given to this tenant
    weight real not null default 1,
    primary key (lane, tenant)
) without rowid;

-- The budget's states (JSON), one a key, and the one clock that they share.
create table budget (
    key   text primary key not null,
    state text not null
) without rowid;

create table lane_clock (
    one     integer primary key check (one = 1),
    at      integer not null,                     -- lane time in ms; never goes back
    mono_ms integer not null,                     -- the machine's clock when it was written
    boot_id text    not null                      -- of the machine's start that mono_ms counts from
);

create table limit_rule (
    pattern             text primary key not null,
    requests_per_minute integer,
    tokens_per_minute   integer,
    origin              text not null             -- configuration, flag or set
) without rowid;

-- A process at work. A rescuer must itself see `beat` stand still.
create table lease (
    id         text    primary key not null,
    beat       integer not null,
    host       text    not null,
    pid        integer not null,
    started_at integer not null
) without rowid;

-- Identities outlive their jobs.
create table seen (
    tenant        text    not null,
    identity      text    not null,
    job_id        text    not null,
    document_hash text    not null,
    expires_at    integer not null,
    primary key (tenant, identity)
) without rowid;

create index seen_expires on seen (expires_at);

-- The door for programs in other languages: insert a document, and a worker admits it.
create table submission (
    id       text primary key not null check (typeof(id) = 'text'),
    document text not null
);

-- The jobs of a file, line by line.
create table batch (
    id         text primary key not null,
    name       text not null unique,
    created_at integer not null
) without rowid;

create table batch_line (
    batch_id text    not null,
    line     integer not null,
    job_id   text    not null,
    primary key (batch_id, line)
) without rowid;

create index batch_line_job on batch_line (job_id, batch_id);
