-- sqlite: the results of these jobs in the order of their ends, as `result_read` has them.
select
    result.seq as "seq!: i64",
    result.job_id as "job_id!: Hyphenated",
    job.external_id as "external_id?",
    result.state as "state!",
    result.output as "output?",
    result.text as "text?",
    result.error_kind as "error_kind?",
    result.error_message as "error_message?",
    job.queue as "queue!",
    job.model as "model!",
    coalesce(sum(attempt.input_tokens), 0) as "input!: i64",
    coalesce(sum(attempt.output_tokens), 0) as "output_tokens!: i64",
    coalesce(sum(attempt.cache_read), 0) as "cache_read!: i64",
    coalesce(sum(attempt.cache_write), 0) as "cache_write!: i64",
    sum(attempt.cost_micros) as "cost_micros?: i64",
    count(attempt.number) filter (where attempt.outcome is not 'not_sent') as "attempts!: i64",
    -- A job cancelled in flight has an attempt whose outcome is still to come.
    count(attempt.number) filter (
        where attempt.outcome is null or attempt.outcome in ('unknown', 'cut')
    ) as "attempts_unknown!: i64",
    result.provenance as "provenance?",
    job.bodies_gone_at as "gone_at?: i64",
    job.bodies_gone_by as "gone_by?",
    job_spec.document -> '$.metadata' as "metadata?: String"
from result
join job on job.id = result.job_id
left join job_spec on job_spec.job_id = result.job_id
left join attempt on attempt.job_id = result.job_id
where result.job_id in (select value from jsonb_each(?1))
group by result.seq
order by result.seq
