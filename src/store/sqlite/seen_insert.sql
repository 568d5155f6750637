-- sqlite: identities that are taken from now on; a rerun takes its over.
insert into seen (tenant, identity, job_id, document_hash, expires_at)
select
    value ->> 'tenant', value ->> 'identity', value ->> 'id', value ->> 'document_hash',
    value ->> 'seen_until'
from jsonb_each(?1)
where value ->> 'identity' is not null
on conflict (tenant, identity) do update
set
    job_id = excluded.job_id, document_hash = excluded.document_hash,
    expires_at = excluded.expires_at
