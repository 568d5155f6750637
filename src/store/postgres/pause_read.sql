-- postgres: the pauses that people have made and that are not over.
select
    scope, quarrier.ms(paused_at) as "paused_at!", quarrier.ms(paused_until) as "paused_until?",
    reason
from quarrier.pause
where paused_until is null or paused_until > quarrier.at($1)
order by scope collate "C"
