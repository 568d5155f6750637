-- sqlite: what the model said in these attempts.
insert into attempt_body (job_id, number, raw_text, schema_errors)
select
    value ->> 'job_id', value ->> 'number',
    coalesce(value ->> '$.raw_text.plain', cast(unhex(value ->> '$.raw_text.hex') as text)),
    value ->> 'schema_errors'
from jsonb_each(?1)
where true
on conflict (job_id, number) do update
set raw_text = excluded.raw_text, schema_errors = excluded.schema_errors
