-- sqlite: every limit.
select pattern, requests_per_minute, tokens_per_minute, origin from limit_rule order by pattern
