-- postgres: nobody claims in this lane until then.
insert into quarrier.lane (key, paused_until, pause_reason) values ($1, quarrier.at($2), $3)
on conflict (key) do update
set
    paused_until = greatest(lane.paused_until, excluded.paused_until),
    pause_reason = excluded.pause_reason
