-- postgres: the texts of these jobs are deleted, unless they were put back or are to be delivered
-- again meanwhile. Says which.
update quarrier.job
set bodies_gone_at = quarrier.at($2), bodies_gone_by = $3
where id = any($1) and ended_at <= quarrier.at($4)
    and (
        not reply
        or (
            select delivery.state from quarrier.delivery where delivery.job_id = job.id
        ) is distinct from 'due'
    )
returning id
