-- postgres: what people decide for all workers: pauses, and which process was configured with which
-- limits.
-- Compatible from: 2. It only adds; a release that knows migrations 1 and 2 works beside this one, but
-- reads none of it: pauses do not hold it back.
-- Lock: the new tables are nobody's yet; `lane` is locked for an instant, because a column with a
-- constant default rewrites no row. Time at 10 million jobs: the same, none.

create table quarrier.pause (
    scope        text primary key,
    paused_at    timestamptz not null,
    paused_until timestamptz,
    reason       text
);
comment on table quarrier.pause is 'What a person has paused: no worker claims within it.';
comment on column quarrier.pause.scope is 'all, lane:PATTERN with * and ?, or queue:NAME.';
comment on column quarrier.pause.paused_at is 'Since when.';
comment on column quarrier.pause.paused_until is 'Until when; null = until a person resumes it.';
comment on column quarrier.pause.reason is 'In the person''s words.';

alter table quarrier.lane add column resumed bigint not null default 0;
comment on column quarrier.lane.resumed is
    'How often a person has ended a pause that a failure had made; workers then try the lane.';

create table quarrier.limit_seed (
    seeder    text primary key,
    seq       bigint generated always as identity,
    seeded_at timestamptz not null,
    rules     text not null
);
comment on table quarrier.limit_seed is
    'With which limits each process was configured. Those of the last row are in quarrier.limit_rule.';
comment on column quarrier.limit_seed.seeder is 'The process: its machine''s name, a slash, its number.';
comment on column quarrier.limit_seed.seq is 'The order in which they were written.';
comment on column quarrier.limit_seed.seeded_at is 'When it wrote them.';
comment on column quarrier.limit_seed.rules is 'JSON: its rules.';
