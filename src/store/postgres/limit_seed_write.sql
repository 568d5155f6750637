-- postgres: with which limits this process was configured.
insert into quarrier.limit_seed (seeder, seeded_at, rules) values ($1, quarrier.at($2), $3)
