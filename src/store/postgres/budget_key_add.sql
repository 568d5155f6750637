-- postgres: keys that nobody has drawn on before.
insert into quarrier.budget_key (key)
select asked.key from unnest($1::text[]) as asked (key) order by asked.key collate "C"
on conflict (key) do nothing
