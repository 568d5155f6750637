-- sqlite: with which limits this process was configured.
insert into limit_seed (seeder, seeded_at, rules) values (?1, ?2, ?3)
