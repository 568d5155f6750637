-- postgres: a batch by its name.
insert into quarrier.batch (id, name, created_at) values ($1, $2, quarrier.at($3))
on conflict (name) do update set name = excluded.name
returning id
