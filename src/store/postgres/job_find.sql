-- postgres: a job by its own id, or the newest by its producer's.
select id as "id!"
from quarrier.job
where id = $1 or external_id = $2
order by coalesce(id = $1, false) desc, id desc
limit 1
