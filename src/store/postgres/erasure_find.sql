-- postgres: the erasure of this tenant that is under way, or was broken off. Its lock keeps a second
-- process out.
select
    id, asked_by, quarrier.ms(started_at) as "started_at!", after_job, counts
from quarrier.erasure
where tenant = $1 and done_at is null
for update
