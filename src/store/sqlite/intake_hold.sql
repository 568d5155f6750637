-- sqlite: these messages are held, or have newer receipts.
insert into intake (queue, message_id, receipt, job_id, received_at)
select
    value ->> 'queue', value ->> 'message_id', value ->> 'receipt', value ->> 'job_id',
    value ->> 'received_at'
from jsonb_each(?1)
where true
on conflict (queue, message_id) do update
set receipt = excluded.receipt, job_id = excluded.job_id, received_at = excluded.received_at
where intake.received_at <= excluded.received_at
