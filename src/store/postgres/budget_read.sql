-- postgres: the keys' last states, what finished calls took since, in the order of their commits, and
-- the time; read once the keys' locks are held.
select
    asked.key as "key!", last.place as "place?", last.state as "state?",
    greatest(last.settled, since.last) as "settled?", since.calls as "calls?",
    quarrier.ms(clock_timestamp()) as "now!"
from unnest($1::text[]) as asked (key)
left join lateral (
    select place, state, settled from quarrier.budget
    where budget.key = asked.key order by seq desc limit 1
) as last on true
cross join lateral (
    select max(seq) as last, '[' || string_agg(calls, ',' order by seq) || ']' as calls
    from quarrier.settlement
    where settlement.key = asked.key and seq > coalesce(last.settled, 0)
) as since
