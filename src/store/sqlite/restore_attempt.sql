-- sqlite: attempts that were lost, as they were: their calls are in flight, or over.
insert into attempt (
    job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens, restored
)
select
    value ->> 'id', value ->> 'number', value ->> 'fence', ?2, value ->> 'started_at',
    value ->> 'slot', value ->> 'keys', value ->> 'reserved_tokens', 1
from jsonb_each(?1)
