-- postgres: a process begins its work; again where it does not know whether it has.
insert into quarrier.lease (id, beat, host, pid, started_at, beat_at, takes_jobs)
values ($1, 0, $2, $3, quarrier.at($4), clock_timestamp(), $5)
on conflict (id) do nothing
