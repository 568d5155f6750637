-- sqlite: the pauses that people have made and that are not over.
select scope, paused_at, paused_until, reason
from pause
where paused_until is null or paused_until > ?1
order by scope
