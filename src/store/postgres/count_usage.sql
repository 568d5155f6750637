-- postgres: what all attempts took; of one batch where named.
select
    coalesce(sum(input_tokens), 0)::bigint as "input!",
    coalesce(sum(output_tokens), 0)::bigint as "output_tokens!",
    coalesce(sum(cache_read), 0)::bigint as "cache_read!",
    coalesce(sum(cache_write), 0)::bigint as "cache_write!",
    coalesce(sum(cost_micros), 0)::bigint as "cost_micros!",
    count(*) filter (where outcome in ('unknown', 'cut')) as "attempts_unknown!"
from quarrier.attempt
where $1::uuid is null or exists (
    select from quarrier.batch_line where batch_line.job_id = attempt.job_id and batch_id = $1
)
