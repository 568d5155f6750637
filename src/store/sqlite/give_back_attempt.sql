-- sqlite: these attempts were never sent.
update attempt
set outcome = 'not_sent', settled_tokens = 0, finished_at = ?2, error_kind = null
from jsonb_each(?1) as unsent
where
    attempt.job_id = unsent.value ->> 'job_id' and attempt.number = unsent.value ->> 'number'
