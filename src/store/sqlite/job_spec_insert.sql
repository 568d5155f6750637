-- sqlite: what is read once a call, beside the hot row.
insert into job_spec (job_id, document, resolved)
select value ->> 'id', value ->> 'document', value ->> 'resolved' from jsonb_each(?1)
