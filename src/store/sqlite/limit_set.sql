-- sqlite: one limit, set at run time.
insert into limit_rule (pattern, requests_per_minute, tokens_per_minute, origin)
values (?1, ?2, ?3, 'set')
on conflict (pattern) do update
set
    requests_per_minute = excluded.requests_per_minute,
    tokens_per_minute = excluded.tokens_per_minute, origin = 'set'
