-- postgres: jobs that match, newest first (ids are in the order of admission).
select
    id, external_id, state, queue, tenant, model, lane, priority, calls, failures, reasks, crashes,
    throttles, quarrier.ms(created_at) as "created_at!", quarrier.ms(run_at) as "run_at!",
    quarrier.ms(deadline_at) as "deadline_at!", quarrier.ms(ended_at) as ended_at, reason
from quarrier.job
where
    ($1::text is null or queue = $1)
    and ($2::text is null or tenant = $2)
    and ($3::text is null or state = $3)
    and ($4::text is null or reason = $4)
    and ($5::text is null or model = $5)
    and ($6::bigint is null or created_at >= quarrier.at($6))
    and (
        $9::uuid is null
        or exists (select from quarrier.batch_line where batch_line.job_id = job.id and batch_id = $9)
    )
    and id < coalesce($7, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by id desc
limit $8
