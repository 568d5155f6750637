-- postgres: a person pauses a scope; one that is paused already keeps its beginning.
insert into quarrier.pause (scope, paused_at, paused_until, reason)
values ($1, quarrier.at($2), quarrier.at($3), $4)
on conflict (scope) do update
set paused_until = excluded.paused_until, reason = excluded.reason
