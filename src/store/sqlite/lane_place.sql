-- sqlite: where a lane stands, and whether it is paused.
select place, paused_until, pause_reason from lane where key = ?1
