-- sqlite: how these attempts came out.
update attempt
set
    outcome = done.value ->> 'outcome',
    settled_tokens = done.value ->> 'settled_tokens',
    error_kind = done.value ->> 'error_kind',
    error_message = done.value ->> 'error_message',
    finished_at = ?2,
    input_tokens = done.value ->> 'input_tokens',
    output_tokens = done.value ->> 'output_tokens',
    cache_read = done.value ->> 'cache_read',
    cache_write = done.value ->> 'cache_write',
    cost_micros = done.value ->> 'cost_micros',
    request_id = done.value ->> 'request_id',
    first_token_ms = done.value ->> 'first_token_ms',
    total_ms = done.value ->> 'total_ms',
    stop = done.value ->> 'stop'
from jsonb_each(?1) as done
where attempt.job_id = done.value ->> 'job_id' and attempt.number = done.value ->> 'number'
