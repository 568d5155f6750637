-- postgres: the workers that were heard of. What an earlier release opened says no time, and counts.
select count(*) as "workers!"
from quarrier.lease
where takes_jobs and (beat_at is null or beat_at >= clock_timestamp() - make_interval(secs => $1))
