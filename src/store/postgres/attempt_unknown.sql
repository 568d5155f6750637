-- postgres: nobody has seen the end of these jobs' open attempts, and perhaps nobody will.
update quarrier.attempt
set outcome = 'unknown', finished_at = quarrier.at($2), error_kind = $3
from quarrier.job
where
    job.id = any($1) and attempt.job_id = job.id and attempt.outcome is null
