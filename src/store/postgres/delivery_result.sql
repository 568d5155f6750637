-- postgres: the results of these jobs in the order of their ends, as `result_read` has them.
select
    result.seq, result.job_id, job.external_id, result.state, result.output, result.text,
    result.text_bytes, result.error_kind, result.error_message, job.queue, job.model,
    used.input as "input!", used.output_tokens as "output_tokens!",
    used.cache_read as "cache_read!", used.cache_write as "cache_write!", used.cost_micros,
    used.attempts as "attempts!", used.attempts_unknown as "attempts_unknown!",
    result.provenance, job_spec.metadata as "metadata?",
    quarrier.ms(job.bodies_gone_at) as "gone_at?", job.bodies_gone_by as "gone_by?"
from quarrier.result
join quarrier.job on job.id = result.job_id
left join quarrier.job_spec on job_spec.job_id = result.job_id
cross join lateral (
    select
        coalesce(sum(input_tokens), 0)::bigint as input,
        coalesce(sum(output_tokens), 0)::bigint as output_tokens,
        coalesce(sum(cache_read), 0)::bigint as cache_read,
        coalesce(sum(cache_write), 0)::bigint as cache_write,
        sum(cost_micros)::bigint as cost_micros,
        count(*) filter (where outcome is distinct from 'not_sent') as attempts,
        -- A job cancelled in flight has an attempt whose outcome is still to come.
        count(*) filter (
            where outcome is null or outcome in ('unknown', 'cut')
        ) as attempts_unknown
    from quarrier.attempt
    where attempt.job_id = result.job_id
) as used
where result.job_id = any($1)
order by result.seq
