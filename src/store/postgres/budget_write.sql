-- postgres: the states that a transaction touched, appended.
insert into quarrier.budget (key, place, state)
select * from unnest($1::text[], $2::double precision[], $3::text[])
returning key, seq
