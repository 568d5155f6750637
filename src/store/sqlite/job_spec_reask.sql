-- sqlite: what the next call shows to the model again. Only a new re-ask replaces the last one: a
-- throttled or failed call in between must not lose it.
update job_spec
set reask = again.value ->> 'reask'
from jsonb_each(?1) as again
where job_spec.job_id = again.value ->> 'id' and again.value ->> 'reask' is not null
