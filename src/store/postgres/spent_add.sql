-- postgres: what the attempts of these jobs took is kept when they go.
insert into quarrier.spent (
    day, queue, tenant, model, calls, calls_unpriced, input_tokens, output_tokens, cache_read,
    cache_write, cost_micros
)
select
    (attempt.started_at at time zone 'UTC')::date, job.queue, job.tenant, job.model,
    count(*), count(*) filter (where attempt.cost_micros is null),
    coalesce(sum(attempt.input_tokens), 0)::bigint, coalesce(sum(attempt.output_tokens), 0)::bigint,
    coalesce(sum(attempt.cache_read), 0)::bigint, coalesce(sum(attempt.cache_write), 0)::bigint,
    coalesce(sum(attempt.cost_micros), 0)::bigint
from quarrier.job
join quarrier.attempt on attempt.job_id = job.id
where job.id = any($1) and attempt.outcome is distinct from 'not_sent'
group by 1, 2, 3, 4
order by 1, 2, 3, 4
on conflict (day, queue, tenant, model) do update
set
    calls = spent.calls + excluded.calls,
    calls_unpriced = spent.calls_unpriced + excluded.calls_unpriced,
    input_tokens = spent.input_tokens + excluded.input_tokens,
    output_tokens = spent.output_tokens + excluded.output_tokens,
    cache_read = spent.cache_read + excluded.cache_read,
    cache_write = spent.cache_write + excluded.cache_write,
    cost_micros = spent.cost_micros + excluded.cost_micros
