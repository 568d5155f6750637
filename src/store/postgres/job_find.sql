-- postgres: a job by its own id, or the newest by its producer's. Two steps of an index each.
select found.id as "id!"
from (
    select id, true as is_own from quarrier.job where id = $1
    union all
    (
        select job_id, false from quarrier.job_spec
        where external_id = $2
        order by job_id desc
        limit 1
    )
) as found
order by found.is_own desc
limit 1
