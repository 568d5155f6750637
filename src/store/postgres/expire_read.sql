-- postgres: jobs whose deadline passed while nothing was in flight. What somebody else is changing
-- is looked at the next time.
select id as "id!", reason
from quarrier.job
where deadline_at <= quarrier.at($1) and state in ('ready', 'held')
order by deadline_at
limit $2
for no key update skip locked
