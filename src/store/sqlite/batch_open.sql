-- sqlite: a batch by its name.
insert into batch (id, name, created_at) values (?1, ?2, ?3)
on conflict (name) do update set name = excluded.name
returning id as "id!: Hyphenated"
