-- sqlite: lanes that nobody calls for now.
select key, paused_until, pause_reason from lane where paused_until > ?1 order by key
