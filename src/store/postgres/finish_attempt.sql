-- postgres: how these attempts came out.
update quarrier.attempt
set
    outcome = done.outcome, settled_tokens = done.settled_tokens, error_kind = done.error_kind,
    error_message = done.error_message, finished_at = quarrier.at($16),
    input_tokens = done.input_tokens, output_tokens = done.output_tokens,
    cache_read = done.cache_read, cache_write = done.cache_write, cost_micros = done.cost_micros,
    request_id = done.request_id, first_token_ms = done.first_token_ms, total_ms = done.total_ms,
    stop = done.stop
from unnest(
    $1::uuid[], $2::int[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[],
    $14::bigint[], $15::text[]
) as done (
    job_id, number, outcome, settled_tokens, error_kind, error_message, input_tokens, output_tokens,
    cache_read, cache_write, cost_micros, request_id, first_token_ms, total_ms, stop
)
where attempt.job_id = done.job_id and attempt.number = done.number
