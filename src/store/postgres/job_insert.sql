-- postgres: new jobs, ready.
insert into quarrier.job (
    id, external_id, tenant, queue, lane, model, state, due, place, priority, run_at, deadline_at,
    max_attempts, hold, input_tokens_max, max_tokens, burndown, dedupe_key, created_at, reserved, reply
)
select
    job.id, job.external_id, job.tenant, job.queue, job.lane, job.model, 'ready',
    job.place is not null, job.place, job.priority, quarrier.at(job.run_at),
    quarrier.at(job.deadline_at), job.max_attempts, job.hold, job.input_tokens_max, job.max_tokens,
    job.burndown, job.dedupe_key, quarrier.at($17),
    exists (select from quarrier.queue where queue.name = job.queue and reserved_permille > 0),
    job.reply
from unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::double precision[], $8::int[], $9::bigint[], $10::bigint[], $11::int[], $12::boolean[],
    $13::bigint[], $14::bigint[], $15::int[], $16::text[], $18::boolean[]
) as job (
    id, external_id, tenant, queue, lane, model, place, priority, run_at, deadline_at,
    max_attempts, hold, input_tokens_max, max_tokens, burndown, dedupe_key, reply
)
