-- sqlite: a job's attempts in order, with what the model said.
select
    attempt.number as "number!: i64", outcome, error_kind, error_message,
    restored as "restored!: bool", started_at as "started_at!: i64", finished_at, reserved_tokens as "reserved_tokens!: i64",
    settled_tokens, input_tokens, output_tokens, cache_read, cache_write, cost_micros, request_id,
    first_token_ms, total_ms, stop, raw_text as "raw_text?", schema_errors as "schema_errors?"
from attempt
left join attempt_body
    on attempt_body.job_id = attempt.job_id and attempt_body.number = attempt.number
where attempt.job_id = ?1
order by attempt.number
limit ?2
