-- postgres: the results of the jobs that this operation ends, and what their calls took, numbered
-- under the lock that keeps numbers in the order of commits.
with turn as materialized (
    select one from quarrier.result_order where one = 1 for update
),
settled as (
    insert into quarrier.settlement (key, calls)
    select took.key, took.calls
    from turn
    cross join unnest($10::text[], $11::text[]) as took (key, calls)
)
insert into quarrier.result (
    job_id, state, output, text, text_bytes, error_kind, error_message, provenance, ended_at
)
select
    ended.job_id, ended.state, ended.output, ended.text, ended.text_bytes, ended.error_kind,
    ended.error_message, ended.provenance, quarrier.at($9)
from turn
cross join unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[]
) as ended (job_id, state, output, text, text_bytes, error_kind, error_message, provenance)
