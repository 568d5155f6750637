-- sqlite: what all attempts took; of one batch where named.
select
    coalesce(sum(input_tokens), 0) as "input!: i64",
    coalesce(sum(output_tokens), 0) as "output_tokens!: i64",
    coalesce(sum(cache_read), 0) as "cache_read!: i64",
    coalesce(sum(cache_write), 0) as "cache_write!: i64",
    coalesce(sum(cost_micros), 0) as "cost_micros!: i64",
    count(*) filter (where outcome in ('unknown', 'cut')) as "attempts_unknown!: i64"
from attempt
where ?1 is null or exists (
    select 1 from batch_line where batch_line.job_id = attempt.job_id and batch_id = ?1
)
