-- postgres: jobs that wait for the end of their lane's pause wait no longer. Their waits were counted
-- from a moment or two after the pause's beginning, so they end up to $4 ms after it. What somebody
-- else is changing is left out.
update quarrier.job
set run_at = quarrier.at($5)
where
    id in (
        select job.id
        from unnest($1::text[], $2::text[], $3::bigint[]) as paused (lane, reason, until_ms)
        join quarrier.job
            on job.lane = paused.lane and job.reason = paused.reason
            and job.state = 'ready' and not job.due
            and job.run_at > quarrier.at($5)
            and job.run_at <= quarrier.at(paused.until_ms + $4)
        for no key update of job skip locked
    )
