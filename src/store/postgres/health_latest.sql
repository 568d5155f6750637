-- postgres: the newest wall-clock time among the rows that were written last, for a look at the clock.
select quarrier.ms(max(last.at)) as at
from (
    (select created_at as at from quarrier.job order by id desc limit 1)
    union all
    (select ended_at as at from quarrier.result order by seq desc limit 1)
    union all
    select max(started_at) as at from quarrier.lease
) as last
