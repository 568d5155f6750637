-- sqlite: the result of each job that this operation ended (?2 lists them).
insert into result (
    job_id, state, output, text, error_kind, error_message, provenance, ended_at
)
select
    value ->> 'id', value ->> 'state', value ->> 'output',
    coalesce(value ->> '$.text.plain', cast(unhex(value ->> '$.text.hex') as text)),
    value ->> 'error_kind', value ->> 'error_message', value ->> 'provenance', ?3
from json_each(?1)
where value ->> 'id' in (select value from json_each(?2))
