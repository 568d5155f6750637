-- sqlite: how one queue shares lanes.
insert into queue (name, concurrency_max, reserved_permille, weight) values (?1, ?2, ?3, ?4)
