-- sqlite: held messages whose jobs have ended or were deleted and of which nothing is to be delivered
-- any more, oldest first. A job is looked up for each that is held, and a delivery only for those that
-- have ended and reply.
select
    intake.message_id as "message_id!", intake.receipt as "receipt!",
    intake.job_id as "job_id!: Hyphenated", intake.received_at as "received_at!: i64"
from intake
left join job on job.id = intake.job_id
where
    intake.queue = ?1
    and (
        job.id is null
        or (
            job.ended_at is not null
            and (
                job.reply = 0
                or (select delivery.state from delivery where delivery.job_id = job.id) is not 'due'
            )
        )
    )
order by intake.received_at, intake.message_id
limit ?2
