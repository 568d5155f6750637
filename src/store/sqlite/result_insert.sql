-- sqlite: the results of the jobs that this operation ends.
insert into result (
    job_id, state, output, text, error_kind, error_message, provenance, ended_at
)
select
    value ->> 'id', value ->> 'state', value ->> 'output',
    coalesce(value ->> '$.text.plain', cast(unhex(value ->> '$.text.hex') as text)),
    value ->> 'error_kind', value ->> 'error_message', value ->> 'provenance', ?2
from jsonb_each(?1)
