-- sqlite: the newest wall-clock time among the rows that were written last, for a look at the clock.
select max(at) as "at: i64"
from (
    select at from (select created_at as at from job order by id desc limit 1)
    union all
    select at from (select ended_at as at from result order by seq desc limit 1)
    union all
    select max(started_at) as at from lease
)
