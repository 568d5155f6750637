-- postgres: documents are taken back. Unlike an admission this waits for a worker that is admitting
-- one of them, so that it is either here or a job when this has ended.
delete from quarrier.submission
where submission.job_id = any(array(
    select waiting.job_id from quarrier.submission as waiting
    where waiting.id = any($1) or waiting.job_id = any($2)
    for update
))
returning
    coalesce(submission.id, submission.job_id::text) as "key!", submission.job_id as "job_id!",
    submission.tenant, submission.document as "document!"
