-- sqlite: the erasure of this tenant that is under way, or was broken off.
select id as "id!: Hyphenated", asked_by, started_at, after_job, counts
from erasure
where tenant = ?1 and done_at is null
