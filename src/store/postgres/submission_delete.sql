-- postgres: submissions go as they are admitted; which another worker admits is left out. This
-- transaction need not be safe on the disk when it ends: until it is, the submission still stands
-- there, and whatever is built on the admission makes it safe with itself.
delete from quarrier.submission
using (select set_config('synchronous_commit', 'off', true)) as unflushed
where submission.job_id = any(array(
    select waiting.job_id from quarrier.submission as waiting
    where waiting.id = any($1) or waiting.job_id = any($2)
    for update skip locked
))
returning
    coalesce(submission.id, submission.job_id::text) as "key!",
    quarrier.ms(clock_timestamp()) as "now!"
