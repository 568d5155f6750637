-- postgres: the same doors for other programs, for less of the server's time: what is usual is checked
-- and put in by one statement, and everything else goes the way of migration 2.
-- Compatible from: 4. Functions alone are replaced, and they do what they did.
-- Lock: none that anybody waits for; a call that runs keeps the function that it began with. Time at
-- 10 million jobs: the same, none.

-- Written out with its schema wherever a name is looked up, so that it means the same whoever calls.
create or replace function quarrier.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
    -- 48 bits of Unix milliseconds over a random version 4; two more bits make it a version 7.
    select pg_catalog.encode(
        pg_catalog.set_bit(pg_catalog.set_bit(
            pg_catalog.overlay(
                pg_catalog.uuid_send(pg_catalog.gen_random_uuid()),
                pg_catalog.substring(
                    pg_catalog.int8send((
                        pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
                        operator(pg_catalog.*) 1000
                    )::bigint),
                    3),
                1, 6),
            52, 1), 53, 1),
        'hex')::pg_catalog.uuid
$$;
-- Postgres 18 has its own, which is faster.
do $$
begin
    if current_setting('server_version_num')::integer >= 180000 then
        create or replace function quarrier.uuid_v7() returns uuid
        language sql volatile parallel safe
        as 'select pg_catalog.uuidv7()';
    end if;
end
$$;

-- Without a subquery and used with one column, so that Postgres puts it into its callers. `between`
-- and `case x when y` look operators up by the caller's search path, and stand nowhere here.
create function quarrier.is_usual(document jsonb) returns boolean
language sql immutable parallel safe
as $$
    select case
        when case
            when pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'prompt')
                operator(pg_catalog.=) 'string'
            then not document operator(pg_catalog.?) 'messages'
            else not document operator(pg_catalog.?) 'prompt'
                and pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'messages')
                    operator(pg_catalog.=) 'array'
        end then
            document operator(pg_catalog.-) array[
                'version', 'queue', 'model', 'family', 'api', 'system', 'prompt', 'messages',
                'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop', 'priority',
                'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant', 'metadata', 'labels',
                'if_outcome_unknown', 'attachments'
            ] operator(pg_catalog.=) '{}'
            and case
                when document operator(pg_catalog.?) 'tenant' then
                    pg_catalog.jsonb_typeof(document operator(pg_catalog.->) 'tenant')
                        operator(pg_catalog.=) 'string'
                    and pg_catalog.length(document operator(pg_catalog.->>) 'tenant')
                        operator(pg_catalog.>=) 1
                    and pg_catalog.length(document operator(pg_catalog.->>) 'tenant')
                        operator(pg_catalog.<=) 256
                else true
            end
    end
$$;
comment on function quarrier.is_usual is
    'The short check: true where quarrier.refusal would be null (but for the length), and no id is given.';

create function quarrier.enqueue_otherwise(document jsonb, put_in uuid) returns uuid
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    body constant text := document::text;
    refused constant text := quarrier.refusal(document, octet_length(body));
    given uuid := coalesce(put_in, quarrier.uuid_v7());
    name constant text := document ->> 'id';
    owner constant text := coalesce(document ->> 'tenant', 'default');
begin
    if refused is not null then
        raise exception using errcode = 'invalid_parameter_value', message = refused;
    end if;
    if put_in is not null then
        null;
    elsif name is null then
        insert into quarrier.submission (job_id, tenant, document) values (given, owner, body);
    else
        insert into quarrier.submission (job_id, tenant, external_id, document)
        values (given, owner, name, body)
        on conflict (tenant, external_id) where external_id is not null do nothing;
        if not found or exists (
            select from quarrier.seen where seen.tenant = owner and seen.identity = 'id:' || name
        ) then
            given := coalesce(
                quarrier.known_as(array[given], owner, name, document), quarrier.enqueue(document)
            );
        end if;
    end if;
    if exists (select from quarrier.lease where lease.wake_wanted) then
        perform pg_notify('quarrier_wake', '');
    end if;
    return given;
end
$$;
comment on function quarrier.enqueue_otherwise is
    'All that quarrier.enqueue does not do itself; put_in is the job, where it has put it in already.';

-- It runs with its owner's rights and without a search path of its own, the setting of which costs a
-- tenth of the call: so every name in it has its schema, those of types and operators too.
create or replace function quarrier.enqueue(document jsonb) returns uuid
language plpgsql volatile security definer
as $$
declare
    given pg_catalog.uuid;
    done boolean;
begin
    insert into quarrier.submission (job_id, tenant, document)
    select
        quarrier.uuid_v7(), coalesce(document operator(pg_catalog.->>) 'tenant', 'default'),
        document::pg_catalog.text
    where quarrier.is_usual(document)
    returning
        submission.job_id,
        pg_catalog.octet_length(submission.document) operator(pg_catalog.<=) 1048576
            and not exists (select from quarrier.lease where lease.wake_wanted)
    into given, done;
    if done then
        return given;
    end if;
    return quarrier.enqueue_otherwise(document, given);
end
$$;
-- What is replaced keeps its settings only where they are given again; this one has none.
alter function quarrier.enqueue(jsonb) reset all;

create or replace function quarrier.enqueue_many(documents jsonb[]) returns setof uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    unnamed uuid[];
    own uuid[];
    next integer := 0;
    each record;
begin
    if exists (select from quarrier.lease where lease.wake_wanted) then
        perform pg_notify('quarrier_wake', '');
    end if;
    -- Each document is written as text once; rows come back in the order in which they are put in.
    if not exists (select from unnest(documents) as given (document) where document ? 'id') then
        return query
        insert into quarrier.submission (job_id, tenant, document)
        select
            quarrier.uuid_v7(), coalesce(given.document ->> 'tenant', 'default'),
            case
                when quarrier.is_usual(given.document) and octet_length(given.body) <= 1048576
                    then given.body
                when quarrier.refusal(given.document, octet_length(given.body)) is null
                    then given.body
                else quarrier.refuse(
                    quarrier.refusal(given.document, octet_length(given.body)), given.at
                )
            end
        from (
            select document, document::text as body, at
            from unnest(documents) with ordinality as given (document, at)
            offset 0
        ) as given
        returning submission.job_id;
        return;
    end if;
    with put as (
        insert into quarrier.submission (job_id, tenant, external_id, document)
        select
            quarrier.uuid_v7(), coalesce(given.document ->> 'tenant', 'default'),
            given.document ->> 'id',
            case
                when quarrier.refusal(given.document, octet_length(given.body)) is null
                    then given.body
                else quarrier.refuse(
                    quarrier.refusal(given.document, octet_length(given.body)), given.at
                )
            end
        from (
            select document, document::text as body, at
            from unnest(documents) with ordinality as given (document, at)
            offset 0
        ) as given
        on conflict (tenant, external_id) where external_id is not null do nothing
        returning submission.job_id, submission.external_id
    )
    select array_agg(put.job_id), array_agg(put.job_id) filter (where put.external_id is null)
    into own, unnamed
    from put;
    if cardinality(own) = cardinality(documents) and not exists (
        select
        from unnest(documents) as given (document)
        join quarrier.seen
            on seen.tenant = coalesce(given.document ->> 'tenant', 'default')
            and seen.identity = 'id:' || (given.document ->> 'id')
    ) then
        return query select unnest(own);
        return;
    end if;
    -- Some id is known already: one by one.
    for each in
        select
            coalesce(given.document ->> 'tenant', 'default') as tenant,
            given.document ->> 'id' as external_id, given.document
        from unnest(documents) with ordinality as given (document, at)
        order by given.at
    loop
        if each.external_id is null then
            next := next + 1;
            return next unnamed[next];
        else
            return next coalesce(
                quarrier.known_as(own, each.tenant, each.external_id, each.document),
                quarrier.enqueue(each.document)
            );
        end if;
    end loop;
end
$$;

revoke all on function quarrier.is_usual(jsonb), quarrier.enqueue_otherwise(jsonb, uuid) from public;
