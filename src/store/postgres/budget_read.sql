-- postgres: the keys' last states, and the time, read once their locks are held.
select
    asked.key as "key!", last.place as "place?", last.state as "state?",
    quarrier.ms(clock_timestamp()) as "now!"
from unnest($1::text[]) as asked (key)
left join lateral (
    select place, state from quarrier.budget where budget.key = asked.key order by seq desc limit 1
) as last on true
