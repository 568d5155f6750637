-- sqlite: these jobs' running attempts were never sent.
update attempt
set outcome = 'not_sent', settled_tokens = 0, finished_at = ?2
where
    outcome is null
    and (job_id, number) in (
        select job.id, job.calls from job where job.id in (select value from jsonb_each(?1))
    )
