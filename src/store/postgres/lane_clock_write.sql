-- postgres: keeps lane time. Whoever writes has read it under its lock.
insert into quarrier.lane_clock (one, clock) values (1, $1)
on conflict (one) do update set clock = excluded.clock
