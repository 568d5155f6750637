-- sqlite: jobs that wait for the end of their lane's pause wait no longer. Their waits were counted
-- from a moment or two after the pause's beginning, so they end up to ?2 ms after it.
update job
set run_at = ?3
where
    state = 'ready' and due = 0 and run_at > ?3
    and exists (
        select 1 from json_each(?1) as paused
        where
            job.lane = paused.value ->> 'lane' and job.reason = paused.value ->> 'reason'
            and job.run_at <= (paused.value ->> 'until') + ?2
    )
