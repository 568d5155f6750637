-- sqlite: new jobs, ready.
insert into job (
    id, external_id, tenant, queue, lane, model, state, due, place, priority, run_at, deadline_at,
    max_attempts, hold, input_tokens_max, max_tokens, burndown, dedupe_key, created_at, reserved,
    reply
)
select
    value ->> 'id', value ->> 'external_id', value ->> 'tenant', value ->> 'queue',
    value ->> 'lane', value ->> 'model', 'ready', value ->> 'due', value ->> 'place',
    value ->> 'priority', value ->> 'run_at', value ->> 'deadline_at', value ->> 'max_attempts',
    value ->> 'hold', value ->> 'input_tokens_max', value ->> 'max_tokens', value ->> 'burndown',
    value ->> 'dedupe_key', ?2,
    exists (select 1 from queue where name = value ->> 'queue' and reserved_permille > 0),
    value ->> 'reply_to' is not null
from jsonb_each(?1)
