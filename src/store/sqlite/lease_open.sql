-- sqlite: a process begins its work.
insert into lease (id, beat, host, pid, started_at) values (?1, 0, ?2, ?3, ?4)
