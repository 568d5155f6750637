-- postgres: every key's last state, and what finished calls took since, in the order of their commits.
select budget_key.key as "key!", last.state as "state!", since.calls as "calls?"
from quarrier.budget_key
join lateral (
    select state, settled from quarrier.budget
    where budget.key = budget_key.key order by seq desc limit 1
) as last on true
cross join lateral (
    select '[' || string_agg(calls, ',' order by seq) || ']' as calls
    from quarrier.settlement
    where settlement.key = budget_key.key and seq > last.settled
) as since
order by budget_key.key collate "C"
