-- sqlite: one tenant's weight.
insert into tenant (name, weight) values (?1, ?2)
