-- postgres: held messages whose jobs have ended or were deleted and of which nothing is to be
-- delivered any more, oldest first. A job is looked up for each that is held, and a delivery only for
-- those that have ended and reply.
select
    intake.message_id, intake.receipt, intake.job_id, quarrier.ms(intake.received_at) as "received_at!"
from quarrier.intake
-- One by one, so that no plan walks through all jobs for it.
left join lateral (
    select job.id, job.ended_at, job.reply from quarrier.job where job.id = intake.job_id limit 1
) as job on true
where
    intake.queue = $1
    and (
        job.id is null
        or (
            job.ended_at is not null
            and (
                not job.reply
                -- Not `exists`, for which the due deliveries of everybody could be read.
                or (
                    select delivery.state from quarrier.delivery where delivery.job_id = job.id
                ) is distinct from 'due'
            )
        )
    )
order by intake.received_at, intake.message_id
limit $2
