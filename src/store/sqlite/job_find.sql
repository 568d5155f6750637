-- sqlite: a job by its own id, or the newest by its producer's.
select id as "id!: Hyphenated"
from job
where id = ?1 or external_id = ?1
order by id = ?1 desc, id desc
limit 1
