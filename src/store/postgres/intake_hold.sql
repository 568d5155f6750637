-- postgres: these messages are held, or have newer receipts.
insert into quarrier.intake (queue, message_id, receipt, job_id, received_at)
select held.queue, held.message_id, held.receipt, held.job_id, quarrier.at(held.received_at)
from unnest($1::text[], $2::text[], $3::text[], $4::uuid[], $5::bigint[])
    as held (queue, message_id, receipt, job_id, received_at)
order by held.queue, held.message_id
on conflict (queue, message_id) do update
set receipt = excluded.receipt, job_id = excluded.job_id, received_at = excluded.received_at
where intake.received_at <= excluded.received_at
