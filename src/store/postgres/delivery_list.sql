-- postgres: deliveries that match, newest first.
select
    delivery.seq, delivery.job_id, job.external_id, job.tenant, delivery.reply_to, delivery.state,
    delivery.tries, quarrier.ms(delivery.next_at) as due_at, delivery.error,
    quarrier.ms(delivery.created_at) as "created_at!", quarrier.ms(delivery.ended_at) as ended_at
from quarrier.delivery
join quarrier.job on job.id = delivery.job_id
where
    ($1::text is null or delivery.state = $1)
    and ($2::text is null or delivery.reply_to = $2)
    and ($3::uuid is null or delivery.job_id = $3)
    and delivery.seq < coalesce($4::bigint, 9223372036854775807)
order by delivery.seq desc
limit $5
