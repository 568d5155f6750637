-- postgres: they are due now, each at its place. Their locks are held since they were read.
update quarrier.job
set due = true, place = due.place
from unnest($1::uuid[], $2::double precision[]) as due (id, place)
where job.id = due.id
