-- postgres: new jobs that run at once: their identities, their rows, what is read once a call, their
-- attempts, which are there before the calls leave (G3), and the states of the keys that they draw on,
-- appended as `budget_write` does. An identity that somebody else has
-- taken meanwhile is left, and the caller sees one less than it has given.
with given as materialized (
    select *
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::double precision[], $8::int[], $9::bigint[], $10::bigint[], $11::int[], $12::boolean[],
        $13::bigint[], $14::bigint[], $15::int[], $16::text[], $17::text[], $18::text[],
        $19::bigint[], $20::text[], $21::text[], $22::text[], $23::uuid[], $24::bigint[],
        $25::text[], $26::bigint[], $27::boolean[], $30::boolean[], $31::text[], $32::text[]
    ) as given (
        id, external_id, tenant, queue, lane, model, place, priority, run_at, deadline_at,
        max_attempts, hold, input_tokens_max, max_tokens, burndown, dedupe_key, identity,
        document_hash, seen_until, document, metadata, resolved, fence, slot, keys,
        reserved_tokens, capped, reply, reply_to, trace
    )
),
known as (
    insert into quarrier.seen (tenant, identity, job_id, document_hash, expires_at)
    select
        given.tenant, given.identity, given.id, given.document_hash, quarrier.at(given.seen_until)
    from given
    where given.identity is not null
    order by given.tenant, given.identity
    on conflict (tenant, identity) do nothing
    returning 1
),
run as (
    insert into quarrier.job (
        id, external_id, tenant, queue, lane, model, state, due, place, priority, run_at,
        deadline_at, max_attempts, hold, input_tokens_max, max_tokens, burndown, dedupe_key,
        created_at, reserved, calls, fence, lease_id, capped, reply
    )
    select
        given.id, given.external_id, given.tenant, given.queue, given.lane, given.model, 'running',
        given.place is not null, given.place, given.priority, quarrier.at(given.run_at),
        quarrier.at(given.deadline_at), given.max_attempts, given.hold, given.input_tokens_max,
        given.max_tokens, given.burndown, given.dedupe_key, quarrier.at($29),
        exists (
            select from quarrier.queue where queue.name = given.queue and reserved_permille > 0
        ),
        1, given.fence, $28, given.capped, given.reply
    from given
),
described as (
    insert into quarrier.job_spec (
        job_id, document, metadata, resolved, external_id, reply_to, trace
    )
    select
        given.id, given.document, given.metadata, given.resolved, given.external_id,
        given.reply_to, given.trace
    from given
),
made as (
    insert into quarrier.attempt (
        job_id, number, fence, lease_id, started_at, slot, keys, reserved_tokens
    )
    select
        given.id, 1, given.fence, $28, quarrier.at($29), given.slot,
        string_to_array(given.keys, chr(31)), given.reserved_tokens
    from given
),
counted as (
    insert into quarrier.budget (key, place, state, settled)
    select * from unnest($33::text[], $34::double precision[], $35::text[], $36::bigint[])
    returning key, seq, settled
)
select
    (select count(*) from known) as "known!",
    (select json_agg(json_build_array(key, seq, settled))::text from counted) as written
