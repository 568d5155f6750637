-- sqlite: what is read once a call, beside the hot row.
insert into job_spec (job_id, document, resolved, reply_to, trace)
select
    value ->> 'id', value ->> 'document', value ->> 'resolved', value ->> 'reply_to',
    value ->> 'trace'
from jsonb_each(?1)
