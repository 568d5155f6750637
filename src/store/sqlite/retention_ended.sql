-- sqlite: those of these jobs that ended by then, and for which nobody waits any more.
select id as "id!: Hyphenated"
from job
where id in (select value from jsonb_each(?1)) and ended_at <= ?2
    and (
        reply = 0
        or (select delivery.state from delivery where delivery.job_id = job.id) is not 'due'
    )
