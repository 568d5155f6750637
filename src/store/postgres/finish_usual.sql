-- postgres: the usual end of a call: the attempt is the one that its job is running, and it ends
-- the job. Job first, then its attempt and what the model said; of a job that has moved on, or whose
-- content was deleted, nothing is touched, and the row is missing from what comes back.
with done as materialized (
    select
        done.*, (select coalesce($22::bigint, quarrier.ms(clock_timestamp()))) as now
    from unnest(
        $1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[],
        $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
        $14::bigint[], $15::text[], $16::bigint[], $17::bigint[], $18::text[], $19::text[],
        $20::bytea[], $21::text[]
    ) as done (
        job_id, number, fence, state, reason, outcome, settled_tokens, error_kind, error_message,
        input_tokens, output_tokens, cache_read, cache_write, cost_micros, request_id,
        first_token_ms, total_ms, stop, raw_text, raw_bytes, schema_errors
    )
),
ended as (
    update quarrier.job
    set
        state = done.state, ended_at = quarrier.at(done.now), fence = null, lease_id = null,
        reason = done.reason
    from done
    where
        -- Said like this the index of running jobs is no way to them: it looks shorter while it is
        -- said to be empty, and is walked once for each row here.
        job.id = done.job_id and done.fence = case job.state when 'running' then job.fence end
        -- An attempt that was restored may have another number than its worker knows.
        and job.calls = done.number and job.bodies_gone_at is null
    returning job.lane, job.reply, done.*
),
noted as (
    update quarrier.attempt
    set
        outcome = ended.outcome, settled_tokens = ended.settled_tokens,
        error_kind = ended.error_kind, error_message = ended.error_message,
        finished_at = quarrier.at(ended.now), input_tokens = ended.input_tokens,
        output_tokens = ended.output_tokens, cache_read = ended.cache_read,
        cache_write = ended.cache_write, cost_micros = ended.cost_micros,
        request_id = ended.request_id, first_token_ms = ended.first_token_ms,
        total_ms = ended.total_ms, stop = ended.stop
    from ended
    where
        attempt.job_id = ended.job_id and attempt.number = ended.number
        and attempt.fence = ended.fence
    returning
        attempt.job_id, attempt.number, attempt.fence, attempt.slot, attempt.keys,
        attempt.reserved_tokens, ended.lane, ended.reply, ended.raw_text, ended.raw_bytes, ended.schema_errors,
        ended.now
),
said as (
    insert into quarrier.attempt_body (job_id, number, raw_text, raw_bytes, schema_errors)
    select job_id, number, raw_text, raw_bytes, schema_errors from noted
    where raw_text is not null or schema_errors is not null
)
select
    fence as "fence!", slot as "slot!", keys as "keys!", reserved_tokens as "reserved_tokens!",
    lane as "lane!", job_id as "job_id!", reply as "reply!", now as "now!"
from noted
