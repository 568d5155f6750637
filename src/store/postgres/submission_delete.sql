-- postgres: submissions go as they are admitted; which another worker admits is left out.
with mine as (
    select job_id from quarrier.submission
    where id = any($1) or job_id = any($2)
    for update skip locked
)
delete from quarrier.submission using mine
where submission.job_id = mine.job_id
returning coalesce(submission.id, submission.job_id::text) as "key!"
