-- postgres: they are due now, each at its place.
update quarrier.job
set due = true, place = due.place
from unnest($1::uuid[], $2::double precision[]) as due (id, place)
where job.id = due.id and job.state = 'ready'
