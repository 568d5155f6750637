-- sqlite: identities that are taken from now on.
insert into seen (tenant, identity, job_id, document_hash, expires_at)
select
    value ->> 'tenant', value ->> 'identity', value ->> 'id', value ->> 'document_hash',
    value ->> 'seen_until'
from json_each(?1)
where value ->> 'identity' is not null
