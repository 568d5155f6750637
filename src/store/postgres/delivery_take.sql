-- postgres: deliveries that are to be tried now, but for those that another relay is taking.
select
    delivery.job_id, delivery.reply_to, delivery.tries,
    quarrier.ms(delivery.due_since) as "since!", job.tenant, job_spec.trace as "trace?"
from quarrier.delivery
join quarrier.job on job.id = delivery.job_id
left join quarrier.job_spec on job_spec.job_id = delivery.job_id
where delivery.state = 'due' and delivery.next_at <= quarrier.at($1)
order by delivery.next_at
limit $2
for update of delivery skip locked
