-- sqlite: they are due now, each at its place.
update job
set due = 1, place = due.value ->> 'place'
from jsonb_each(?1) as due
where job.id = due.value ->> 'id' and job.state = 'ready'
