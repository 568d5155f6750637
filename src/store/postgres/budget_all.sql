-- postgres: every key's last state.
select budget_key.key as "key!", last.state as "state!"
from quarrier.budget_key
join lateral (
    select state from quarrier.budget where budget.key = budget_key.key order by seq desc limit 1
) as last on true
order by budget_key.key collate "C"
