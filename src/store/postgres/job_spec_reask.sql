-- postgres: what the next call shows to the model again. Only a new re-ask replaces the last one: a
-- throttled or failed call in between must not lose it.
update quarrier.job_spec
set reask = again.reask
from unnest($1::uuid[], $2::text[]) as again (id, reask)
where job_spec.job_id = again.id
