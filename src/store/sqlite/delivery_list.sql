-- sqlite: deliveries that match, newest first.
select
    delivery.seq as "seq!: i64", delivery.job_id as "job_id!: Hyphenated",
    job.external_id as "external_id?", job.tenant as "tenant!", delivery.reply_to as "reply_to!",
    delivery.state as "state!", delivery.tries as "tries!: i64",
    delivery.next_at as "due_at?: i64", delivery.error as "error?",
    delivery.created_at as "created_at!: i64", delivery.ended_at as "ended_at?: i64"
from delivery
join job on job.id = delivery.job_id
where
    (?1 is null or delivery.state = ?1)
    and (?2 is null or delivery.reply_to = ?2)
    and (?3 is null or delivery.job_id = ?3)
    and delivery.seq < coalesce(?4, 9223372036854775807)
order by delivery.seq desc
limit ?5
