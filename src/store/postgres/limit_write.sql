-- postgres: one limit, unless it was set at run time.
insert into quarrier.limit_rule (pattern, requests_per_minute, tokens_per_minute, origin)
values ($1, $2, $3, $4)
on conflict (pattern) do nothing
