-- sqlite: each claim is one attempt, there before its call leaves (G3).
insert into attempt (
    job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
)
select
    value ->> 'id', value ->> 'number', value ->> 'fence', ?2, ?3, value ->> 'slot',
    value ->> 'keys', value ->> 'reserved_tokens'
from jsonb_each(?1)
