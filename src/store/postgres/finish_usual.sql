-- postgres: the usual end of a call: the attempt is the one that its job is running, and it ends
-- the job. All the jobs first, then their attempts and what the models said; of a job that has moved
-- on, or whose content was deleted, nothing is touched, and then no attempt is, and no row comes back.
-- Each table takes its own columns of the given ones: a row that is handed on is copied each time.
with stamp as materialized (
    select coalesce($22::bigint, quarrier.ms(clock_timestamp())) as now
),
ended as (
    update quarrier.job
    set
        state = done.state, ended_at = quarrier.at((select now from stamp)), fence = null,
        lease_id = null, reason = done.reason
    from unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[])
        as done (job_id, number, fence, state, reason)
    where
        -- Said like this the index of running jobs is no way to them: it looks shorter while it is
        -- said to be empty, and is walked once for each row here.
        job.id = done.job_id and done.fence = case job.state when 'running' then job.fence end
        -- An attempt that was restored may have another number than its worker knows.
        and job.calls = done.number and job.bodies_gone_at is null
    returning job.id, job.reply
),
noted as (
    update quarrier.attempt
    set
        outcome = done.outcome, settled_tokens = done.settled_tokens, error_kind = done.error_kind,
        error_message = done.error_message, finished_at = quarrier.at((select now from stamp)),
        input_tokens = done.input_tokens, output_tokens = done.output_tokens,
        cache_read = done.cache_read, cache_write = done.cache_write,
        cost_micros = done.cost_micros, request_id = done.request_id,
        first_token_ms = done.first_token_ms, total_ms = done.total_ms, stop = done.stop
    from unnest(
        $1::uuid[], $2::int[], $3::uuid[], $6::text[], $7::bigint[], $8::text[], $9::text[],
        $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[],
        $16::bigint[], $17::bigint[], $18::text[]
    ) as done (
        job_id, number, fence, outcome, settled_tokens, error_kind, error_message, input_tokens,
        output_tokens, cache_read, cache_write, cost_micros, request_id, first_token_ms, total_ms,
        stop
    )
    where
        -- Asked once, before the first attempt is touched: whoever changes one holds its job's lock.
        (select count(*) from ended) = cardinality($1::uuid[])
        and attempt.job_id = done.job_id and attempt.number = done.number
        and attempt.fence = done.fence
    returning attempt.fence, attempt.slot, attempt.keys, attempt.reserved_tokens
),
said as (
    insert into quarrier.attempt_body (job_id, number, raw_text, raw_bytes, schema_errors)
    select done.*
    from unnest($1::uuid[], $2::int[], $19::text[], $20::bytea[], $21::text[])
        as done (job_id, number, raw_text, raw_bytes, schema_errors)
    where
        (select count(*) from noted) = cardinality($1::uuid[])
        and (done.raw_text is not null or done.schema_errors is not null)
)
select
    noted.fence as "fence!", noted.slot as "slot!",
    array_to_string(noted.keys, chr(31)) as "keys!", noted.reserved_tokens as "reserved_tokens!",
    -- Once, and not with each row.
    case
        when row_number() over () = 1 then array(select ended.id from ended where ended.reply)
    end as replies,
    (select now from stamp) as "now!"
from noted
