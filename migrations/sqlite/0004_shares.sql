-- sqlite: sharing within a lane: turns by queue and tenant, settings of queues and tenants, and what
-- claims need to keep caps and reserved shares.
-- Lock: the file's write lock while two indexes are made, which hold no row yet. Time at 10 million
-- jobs: some seconds, for one walk over the table each.

-- Configured queues: how each shares its lanes with others.
create table queue (
    name              text primary key not null,
    concurrency_max   integer,                    -- running at once in all processes; null = not capped
    reserved_permille integer not null,           -- of each rate: within it its jobs go first
    weight            real    not null            -- turns for one of another queue's
) without rowid;

-- Configured tenants; one that is not here has weight 1.
create table tenant (
    name   text primary key not null,
    weight real not null                          -- turns for one of another tenant's
) without rowid;

-- Turns are kept apart for each queue of a tenant. What was given before stays the default queue's.
create table lane_turn (
    lane   text not null,
    queue  text not null,
    tenant text not null,
    place  real not null,                         -- the last one given to this tenant's jobs of this queue
    primary key (lane, queue, tenant)
) without rowid;
insert into lane_turn (lane, queue, tenant, place)
select lane, 'default', tenant, place from lane_tenant;
drop table lane_tenant;
alter table lane_turn rename to lane_tenant;

alter table job add column reserved integer not null default 0; -- 1: its queue had a share when it came
alter table job add column capped integer not null default 0;   -- 1: its queue was capped at its claim
create index job_reserved on job (lane, queue, place)
    where state = 'ready' and due = 1 and reserved = 1;
create index job_capped on job (queue) where state = 'running' and capped = 1;
