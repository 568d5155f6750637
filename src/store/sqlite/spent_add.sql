-- sqlite: what the attempts of these jobs took is kept when they go.
insert into spent (
    day, queue, tenant, model, calls, calls_unpriced, input_tokens, output_tokens, cache_read,
    cache_write, cost_micros
)
select
    date(attempt.started_at / 1000, 'unixepoch'), job.queue, job.tenant, job.model,
    count(*), count(*) filter (where attempt.cost_micros is null),
    coalesce(sum(attempt.input_tokens), 0), coalesce(sum(attempt.output_tokens), 0),
    coalesce(sum(attempt.cache_read), 0), coalesce(sum(attempt.cache_write), 0),
    coalesce(sum(attempt.cost_micros), 0)
from jsonb_each(?1) as gone
join job on job.id = gone.value
join attempt on attempt.job_id = job.id
where attempt.outcome is not 'not_sent'
group by 1, 2, 3, 4
on conflict (day, queue, tenant, model) do update
set
    calls = spent.calls + excluded.calls,
    calls_unpriced = spent.calls_unpriced + excluded.calls_unpriced,
    input_tokens = spent.input_tokens + excluded.input_tokens,
    output_tokens = spent.output_tokens + excluded.output_tokens,
    cache_read = spent.cache_read + excluded.cache_read,
    cache_write = spent.cache_write + excluded.cache_write,
    cost_micros = spent.cost_micros + excluded.cost_micros
