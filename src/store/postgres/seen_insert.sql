-- postgres: identities that are taken from now on; a rerun takes over the one that it has read. An
-- identity that somebody else has taken meanwhile is left, and the caller sees one row less. In
-- the order of the keys, so that no two doors wait for each other.
insert into quarrier.seen (tenant, identity, job_id, document_hash, expires_at)
select fresh.tenant, fresh.identity, fresh.job_id, fresh.document_hash, quarrier.at(fresh.seen_until)
from unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::bigint[])
    as fresh (tenant, identity, job_id, document_hash, seen_until)
order by fresh.tenant, fresh.identity
on conflict (tenant, identity) do update
set
    job_id = excluded.job_id, document_hash = excluded.document_hash,
    expires_at = excluded.expires_at
where seen.job_id = any($6)
