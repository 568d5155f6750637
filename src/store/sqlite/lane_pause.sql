-- sqlite: nobody claims in this lane until then.
insert into lane (key, paused_until, pause_reason) values (?1, ?2, ?3)
on conflict (key) do update
set paused_until = max(paused_until, excluded.paused_until), pause_reason = excluded.pause_reason
