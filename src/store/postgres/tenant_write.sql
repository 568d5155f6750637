-- postgres: one tenant's weight.
insert into quarrier.tenant (name, weight) values ($1, $2)
