-- sqlite: what people decide for all workers: pauses, and which process was configured with which
-- limits.
-- Lock: the file's write lock for an instant; a column with a constant default rewrites no row. Time
-- at 10 million jobs: the same, none.

-- What a person has paused: no worker claims within it. Times in Unix ms.
create table pause (
    scope        text primary key not null,       -- all, lane:PATTERN with * and ?, or queue:NAME
    paused_at    integer not null,
    paused_until integer,                         -- null = until a person resumes it
    reason       text                             -- in the person's words
) without rowid;

-- How often a person has ended a pause that a failure had made; workers then try the lane.
alter table lane add column resumed integer not null default 0;

-- With which limits each process was configured. Those of the last row are in `limit_rule`.
create table limit_seed (
    seq       integer primary key autoincrement,  -- the order in which they were written
    seeder    text    not null unique,            -- its machine's name, a slash, its number
    seeded_at integer not null,
    rules     text    not null                    -- JSON
);
