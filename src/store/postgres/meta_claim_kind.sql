-- postgres: the first who works here says whether the work is simulated.
insert into quarrier.meta (key, value) values ('simulated', $1)
on conflict (key) do nothing
