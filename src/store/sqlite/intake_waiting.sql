-- sqlite: how many jobs have not ended, counted up to so many; those that run are few beside them.
select count(*) as "waiting!: i64"
from (select 1 from job where ended_at is null limit ?1)
