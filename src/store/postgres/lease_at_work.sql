-- postgres: the processes at work. What an earlier release opened says no time, and counts.
select count(*) as "workers!"
from quarrier.lease
where beat_at is null or beat_at >= clock_timestamp() - make_interval(secs => $1)
