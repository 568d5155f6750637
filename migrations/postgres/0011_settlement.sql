-- postgres: what finished calls took, beside the budget's states, so that a finish waits for no claim:
-- whoever next holds a key's lock books it.
-- No earlier release works beside it: it would not see what the calls of this one took.
-- Lock: access exclusive on quarrier.budget, which has some dozens of rows a key, for the moment in
-- which a column with a constant default is added; no row is written. Time at 10 million jobs: the
-- same, some milliseconds.

-- Appended under the lock of quarrier.result_order, like results: so numbers ascend in the order of
-- commits, and whoever has read up to a number has missed none before it.
create table quarrier.settlement (
    key   text not null,
    seq   bigint generated always as identity,
    calls text not null,
    primary key (key, seq)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
alter table quarrier.settlement alter column calls set storage main;
comment on table quarrier.settlement is
    'What groups of finished calls took, until a state of the budget has it; deleted in ranges.';
comment on column quarrier.settlement.key is 'Of quarrier.budget_key.';
comment on column quarrier.settlement.seq is 'Ascending in the order of commits.';
comment on column quarrier.settlement.calls is
    'JSON: lane time, then slot, reserved and taken tokens of each call; null taken = given back.';

alter table quarrier.budget add column settled bigint not null default 0;
comment on column quarrier.budget.settled is
    'Up to which number of quarrier.settlement the state has what calls took.';
