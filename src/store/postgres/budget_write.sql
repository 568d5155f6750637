-- postgres: the states that a transaction touched, appended, each with how far it has what calls took.
insert into quarrier.budget (key, place, state, settled)
select * from unnest($1::text[], $2::double precision[], $3::text[], $4::bigint[])
returning key, seq, settled
