-- postgres: sharing within a lane: turns by queue and tenant, settings of queues and tenants, and what
-- claims need to keep caps and reserved shares.
-- Compatible from: 4. An earlier release gives turns by tenant alone; none was published.
-- Lock: access exclusive on lane_tenant, which has a row for each tenant at work, and on job for the
-- two columns (constant defaults rewrite no row); then share on job while the two indexes are made,
-- which hold no row yet. Time at 10 million jobs: some seconds, for one walk over the table each.

create table quarrier.queue (
    name              text primary key,
    concurrency_max   integer,
    reserved_permille integer not null,
    weight            double precision not null
);
comment on table quarrier.queue is 'Configured queues: how each shares its lanes with others.';
comment on column quarrier.queue.name is 'As jobs name it.';
comment on column quarrier.queue.concurrency_max is
    'How many of its jobs run at once in all processes; null = not capped.';
comment on column quarrier.queue.reserved_permille is
    'The part of each rate, in thousandths, within which its jobs go first.';
comment on column quarrier.queue.weight is 'How many turns it has for one of another queue''s.';

create table quarrier.tenant (
    name   text primary key,
    weight double precision not null
);
comment on table quarrier.tenant is 'Configured tenants; one that is not here has weight 1.';
comment on column quarrier.tenant.name is 'As jobs name it.';
comment on column quarrier.tenant.weight is 'How many turns it has for one of another tenant''s.';

alter table quarrier.lane_tenant drop constraint lane_tenant_pkey;
alter table quarrier.lane_tenant drop column weight;
alter table quarrier.lane_tenant add column queue text not null default 'default';
alter table quarrier.lane_tenant add primary key (lane, queue, tenant);
comment on column quarrier.lane_tenant.queue is 'Turns are kept apart for each queue of a tenant.';
comment on column quarrier.lane_tenant.place is 'The last one given to this tenant''s jobs of this queue.';

alter table quarrier.job
    add column reserved boolean not null default false,
    add column capped boolean not null default false;
comment on column quarrier.job.reserved is 'Its queue had a reserved share when it was admitted.';
comment on column quarrier.job.capped is 'Its queue was capped when it was last claimed.';
create index job_reserved on quarrier.job (lane, queue, place)
    where state = 'ready' and due and reserved;
create index job_capped on quarrier.job (queue) where state = 'running' and capped;
