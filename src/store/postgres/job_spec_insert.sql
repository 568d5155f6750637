-- postgres: what is read once a call, beside the hot row.
insert into quarrier.job_spec (job_id, document, metadata, resolved, external_id, reply_to, trace)
select *
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
