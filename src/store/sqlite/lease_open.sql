-- sqlite: a process begins its work; again where it does not know whether it has.
insert into lease (id, beat, host, pid, started_at, takes_jobs)
values (?1, 0, ?2, ?3, ?4, ?5)
on conflict (id) do nothing
