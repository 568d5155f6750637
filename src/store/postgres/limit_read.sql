-- postgres: every limit.
select pattern, requests_per_minute, tokens_per_minute, origin
from quarrier.limit_rule
order by pattern collate "C"
