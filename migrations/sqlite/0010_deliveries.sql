-- sqlite: results that leave the store for a queue, each with a row that says where it stands; and
-- messages of queues that are kept until their jobs have ended. Columns without a default or with a
-- constant one, and new tables: no row is written, so the time at 10 million jobs is some
-- milliseconds under the write lock.

alter table job add column reply integer not null default 0;  -- 1: its end makes a delivery

alter table job_spec add column reply_to text;        -- the queue, by URL or name; null: none, or deleted
alter table job_spec add column trace text;           -- a traceparent, or what AWSTraceHeader said

-- One row a result that goes to a queue, made by the transaction that ended its job.
create table delivery (
    job_id     text    primary key not null,
    seq        integer not null,                      -- of its result
    reply_to   text    not null,
    state      text    not null default 'due',        -- due delivered undeliverable
    tries      integer not null default 0,            -- since it waits
    taken      integer not null default 0,            -- 1: somebody has taken it since it waits
    next_at    integer,                               -- tried then, while it is due
    due_since  integer not null,                      -- its job's end, or when a person made it due
    error      text,                                  -- why the last try failed
    created_at integer not null,                      -- its job's end
    ended_at   integer
) without rowid;

create index delivery_due on delivery (next_at) where state = 'due';
create index delivery_given_up on delivery (seq) where state = 'undeliverable';
create unique index delivery_seq on delivery (seq);

-- Messages whose jobs are here and that are deleted once those have ended and were answered.
create table intake (
    queue       text    not null,                     -- the ARN of its queue
    message_id  text    not null,
    job_id      text    not null,                     -- which may be deleted
    received_at integer not null,
    receipt     text    not null,                     -- the latest
    primary key (queue, message_id)
) without rowid;

create index intake_oldest on intake (queue, received_at, message_id);

create view deliveries as
select
    delivery.seq, delivery.job_id, job.external_id, job.tenant, delivery.reply_to, delivery.state,
    delivery.tries, delivery.next_at as due_at, delivery.error, delivery.created_at,
    delivery.ended_at
from delivery
join job on job.id = delivery.job_id;
