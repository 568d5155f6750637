-- postgres: lanes that nobody calls for now.
select key, quarrier.ms(paused_until) as "paused_until!", pause_reason
from quarrier.lane
where paused_until > quarrier.at($1)
order by key collate "C"
