-- postgres: how many jobs wait, counted up to so many; the partial index of deadlines has these alone.
select count(*) as "waiting!"
from (select from quarrier.job where state in ('ready', 'held') limit $1) as waits
