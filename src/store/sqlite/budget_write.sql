-- sqlite: the states that a transaction touched. One row a key is updated in place: the one
-- writer makes that cheap here, where Postgres appends.
insert into budget (key, state)
select value ->> 'key', value ->> 'state' from jsonb_each(?1) where true
on conflict (key) do update set state = excluded.state
