-- sqlite: deliveries that are to be tried now.
select
    delivery.job_id as "job_id!: Hyphenated", delivery.reply_to, delivery.tries,
    delivery.due_since as "since!: i64", job.tenant, job_spec.trace as "trace?"
from delivery
join job on job.id = delivery.job_id
left join job_spec on job_spec.job_id = delivery.job_id
where delivery.state = 'due' and delivery.next_at <= ?1
order by delivery.next_at
limit ?2
