-- sqlite: what is deleted when its time is over or its tenant asks for it, and what is kept of it:
-- the money, and a receipt. Two columns without a default: no row is written, so the time at 10
-- million jobs is some milliseconds under the write lock.

alter table job add column bodies_gone_at integer;  -- null: its texts are there
alter table job add column bodies_gone_by text;     -- retention or erasure

-- How far retention has come, by stage: bodies or jobs.
create table retention (
    stage        text    primary key not null,
    after_seq    integer not null default 0,        -- of the last result that it has looked at
    policy       text    not null default '',       -- JSON: the days by which it looked
    restarted_at integer not null default 0         -- when it last began with the oldest result
) without rowid;
insert into retention (stage) values ('bodies'), ('jobs');

-- What the attempts of deleted jobs took, by the day (UTC) on which they were claimed.
create table spent (
    day            text    not null,
    queue          text    not null,
    tenant         text    not null,
    model          text    not null,
    calls          integer not null,                -- the unsent not counted
    calls_unpriced integer not null,                -- those whose cost nobody knows
    input_tokens   integer not null,
    output_tokens  integer not null,
    cache_read     integer not null,
    cache_write    integer not null,
    cost_micros    integer not null,                -- the known part
    primary key (day, queue, tenant, model)
) without rowid;

-- The receipts of erased tenants.
create table erasure (
    id         text    primary key not null,
    tenant     text    not null,
    asked_by   text    not null,
    started_at integer not null,                    -- what was admitted later is new, and stays
    done_at    integer,                             -- null while it is under way, or broken off
    after_job  text    not null default '',         -- the last job that it has looked at
    counts     text    not null                     -- JSON: how much of what was deleted
) without rowid;
create unique index erasure_open on erasure (tenant) where done_at is null;
