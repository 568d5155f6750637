-- postgres: the door for programs that hold a transaction of their own: quarrier.enqueue(document)
-- and quarrier.enqueue_many(documents), the roles that may use them, and submissions in the view of
-- jobs.
-- Compatible from: 2. A release that knows only migration 1 cannot read rows without a key of
-- their producer; none was published.
-- Lock: access exclusive on quarrier.submission, which is rewritten, and on quarrier.lease. Both hold
-- what waits and what works at this moment, so the time at 10 million jobs is below a second; with a
-- backlog of a million submissions, some ten seconds in which producers wait.

create function quarrier.uuid_v7() returns uuid
language sql volatile parallel safe
as $$
    -- 48 bits of Unix milliseconds over a random version 4; two more bits make it a version 7.
    select encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(
                    int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3
                )
                from 1 for 6
            ),
            52, 1), 53, 1),
        'hex')::uuid
$$;
comment on function quarrier.uuid_v7 is 'A new UUID version 7: in the order of time.';

-- Its own key is for programs that insert by themselves; what the functions put in has none.
alter table quarrier.submission
    drop constraint submission_pkey,
    alter column id drop not null,
    add column job_id uuid not null default quarrier.uuid_v7(),
    add column submitted_at timestamptz not null default clock_timestamp(),
    add column tenant text,
    add column external_id text;
alter table quarrier.submission add primary key (job_id);
create unique index submission_id on quarrier.submission (id) where id is not null;
create unique index submission_external on quarrier.submission (tenant, external_id)
    where external_id is not null;
comment on column quarrier.submission.id is
    'Given by a program that inserts by itself: the job''s identity where its document has no id.';
comment on column quarrier.submission.job_id is 'The id that its job will have.';
comment on column quarrier.submission.submitted_at is 'When it was put in.';
comment on column quarrier.submission.tenant is
    'The document''s, or default; null where a program inserted by itself.';
comment on column quarrier.submission.external_id is
    'The document''s id, unique per tenant; null where a program inserted by itself.';

alter table quarrier.lease add column wake_wanted boolean not null default false;
comment on column quarrier.lease.wake_wanted is
    'Its process listens on the channel quarrier_wake and has slots free.';

-- What SQL can tell of a document: null where nothing speaks against it. One expression without a
-- subquery, which Postgres puts into its callers. The fields are those of docs/job.schema.json.
create function quarrier.refusal(document jsonb, bytes integer) returns text
language sql immutable parallel safe
as $$
    select case
        when document is null or jsonb_typeof(document) <> 'object' then
            '$: is no JSON object; give one job document'
        when bytes > 1048576 then
            '$: has ' || bytes::text || ' bytes as text and 1048576 is the most; shorten it'
        when document - array[
                'version', 'id', 'queue', 'model', 'family', 'api', 'system', 'prompt', 'messages',
                'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop', 'priority',
                'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant', 'metadata', 'labels',
                'if_outcome_unknown', 'attachments'
            ] <> '{}' then
            '$.' || (jsonb_path_query_first(
                document - array[
                    'version', 'id', 'queue', 'model', 'family', 'api', 'system', 'prompt',
                    'messages', 'context', 'schema', 'temperature', 'top_p', 'max_tokens', 'stop',
                    'priority', 'run_at', 'deadline', 'max_attempts', 'dedupe_key', 'tenant',
                    'metadata', 'labels', 'if_outcome_unknown', 'attachments'
                ], '$.keyvalue().key') #>> '{}')
            || ': is no field of a job document; leave it out, or put it into metadata'
        when document ->> 'prompt' is null and document ->> 'messages' is null then
            '$.prompt: is missing; give prompt or messages'
        when document ->> 'prompt' is not null and document ->> 'messages' is not null then
            '$.prompt: stands beside messages; give one of the two'
        when document ->> 'prompt' is not null and jsonb_typeof(document -> 'prompt') <> 'string' then
            '$.prompt: is no string; give the text, or messages'
        when document ->> 'messages' is not null and jsonb_typeof(document -> 'messages') <> 'array' then
            '$.messages: is no list; give a list of turns'
        when document ->> 'id' is not null and (
            jsonb_typeof(document -> 'id') <> 'string'
            or length(document ->> 'id') not between 1 and 256
        ) then
            '$.id: is no string of 1 to 256 characters; shorten it, or leave it out'
        when document ->> 'tenant' is not null and (
            jsonb_typeof(document -> 'tenant') <> 'string'
            or length(document ->> 'tenant') not between 1 and 256
        ) then
            '$.tenant: is no string of 1 to 256 characters; shorten it, or leave it out'
    end
$$;
comment on function quarrier.refusal is
    'Why a document of so many bytes is refused, as far as SQL can tell; null = it may be a job.';

-- Two documents as producers mean them: an absent field and null are the same.
create function quarrier.same_document(one jsonb, other jsonb) returns boolean
language sql immutable parallel safe
as $$
    select coalesce(
        (select jsonb_object_agg(key, value) from jsonb_each(one) where value <> 'null')
        = (select jsonb_object_agg(key, value) from jsonb_each(other) where value <> 'null'),
        false)
$$;
comment on function quarrier.same_document is
    'Whether two documents are the same but for the fields that are null.';

-- Called once the document has been put in, by statements that see what was committed meanwhile: a
-- worker that admits the same id holds its submission until it has written the identity.
create function quarrier.known_as(own uuid[], tenant text, external_id text, document jsonb)
returns uuid
language plpgsql volatile
as $$
declare
    admitted record;
    waiting record;
begin
    select submission.job_id, quarrier.jsonb_or_null(submission.document) as document into waiting
    from quarrier.submission
    where submission.tenant = known_as.tenant and submission.external_id = known_as.external_id;
    select
        seen.job_id,
        quarrier.same_document(
            quarrier.jsonb_or_null(job_spec.document), known_as.document
        ) as is_same
    into admitted
    from quarrier.seen
    left join quarrier.job_spec on job_spec.job_id = seen.job_id
    where seen.tenant = known_as.tenant and seen.identity = 'id:' || known_as.external_id;
    if admitted.is_same then
        delete from quarrier.submission
        where submission.job_id = waiting.job_id and submission.job_id = any(own);
        return admitted.job_id;
    end if;
    if waiting.job_id = any(own) or quarrier.same_document(waiting.document, known_as.document) then
        return waiting.job_id;
    end if;
    -- What waited was rejected meanwhile, which leaves its id free.
    if waiting.job_id is null and admitted.job_id is null then
        return null;
    end if;
    raise exception using
        errcode = 'invalid_parameter_value',
        message = '$.id: ' || quote_literal(external_id) || ' belongs to another document, job '
            || coalesce(waiting.job_id, admitted.job_id)::text
            || '; give another id, or send the same document';
end
$$;
comment on function quarrier.known_as is
    'The job of a document with an id: an earlier one, or the one just put in; null = none is left.';

create function quarrier.refuse(reason text, at bigint) returns text
language plpgsql volatile
as $$
begin
    raise exception using
        errcode = 'invalid_parameter_value',
        message = '$[' || (at - 1)::text || ']' || substring(reason from 2);
end
$$;
comment on function quarrier.refuse is 'Refuses the document at this place, from 1.';

create function quarrier.enqueue(document jsonb) returns uuid
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    body constant text := document::text;
    refused constant text := quarrier.refusal(document, octet_length(body));
    given uuid := quarrier.uuid_v7();
    name constant text := document ->> 'id';
    owner constant text := coalesce(document ->> 'tenant', 'default');
begin
    if refused is not null then
        raise exception using errcode = 'invalid_parameter_value', message = refused;
    end if;
    if name is null then
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
comment on function quarrier.enqueue is
    'Puts one job in, within the caller''s transaction, and returns the job''s id.';

create function quarrier.enqueue_many(documents jsonb[]) returns setof uuid
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
    -- Each document is looked at once; rows come back in the order in which they are put in.
    if not exists (select from unnest(documents) as given (document) where document ? 'id') then
        return query
        insert into quarrier.submission (job_id, tenant, document)
        select
            quarrier.uuid_v7(), coalesce(given.document ->> 'tenant', 'default'),
            case when checked.refusal is null then checked.body
                else quarrier.refuse(checked.refusal, given.at) end
        from unnest(documents) with ordinality as given (document, at)
        cross join lateral (
            select body, quarrier.refusal(given.document, octet_length(body)) as refusal
            from (select given.document::text as body offset 0) as text
        ) as checked
        returning submission.job_id;
        return;
    end if;
    with put as (
        insert into quarrier.submission (job_id, tenant, external_id, document)
        select
            quarrier.uuid_v7(), coalesce(given.document ->> 'tenant', 'default'),
            given.document ->> 'id',
            case when checked.refusal is null then checked.body
                else quarrier.refuse(checked.refusal, given.at) end
        from unnest(documents) with ordinality as given (document, at)
        cross join lateral (
            select body, quarrier.refusal(given.document, octet_length(body)) as refusal
            from (select given.document::text as body offset 0) as text
        ) as checked
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
comment on function quarrier.enqueue_many is
    'Puts jobs in, within the caller''s transaction; returns their ids in the documents'' order.';

-- What users and their programs read: submissions are jobs too. What a worker settles is null yet.

create or replace view quarrier.jobs as
select
    job.id, job.external_id, job.state, job.tenant, job.queue, job.model, job.lane, job.priority,
    job.created_at, job.run_at, job.deadline_at, job.ended_at, job.reason,
    job.calls, job.failures, job.reasks, job.crashes, job.throttles, job.dedupe_key,
    quarrier.jsonb_or_null(job_spec.document) as document
from quarrier.job
left join quarrier.job_spec on job_spec.job_id = job.id
union all
select
    submission.job_id, coalesce(submission.external_id, read.document ->> 'id'), 'submitted',
    coalesce(submission.tenant, read.document ->> 'tenant'), read.document ->> 'queue',
    read.document ->> 'model', null, null,
    submission.submitted_at, null, null, null, null,
    0, 0, 0, 0, 0, read.document ->> 'dedupe_key',
    read.document
from quarrier.submission
cross join lateral (select quarrier.jsonb_or_null(submission.document) as document) as read;
comment on view quarrier.jobs is
    'Every job with its document, from its submission on; the stable way to read them.';

-- Who may do what. Nobody else may call what runs with the owner's rights.

revoke all on function quarrier.enqueue(jsonb), quarrier.enqueue_many(jsonb[]),
    quarrier.refusal(jsonb, integer), quarrier.same_document(jsonb, jsonb),
    quarrier.known_as(uuid[], text, text, jsonb), quarrier.refuse(text, bigint)
from public;

create function quarrier.grant_roles() returns text
language plpgsql volatile
as $$
declare
    missing text[] := '{}';
begin
    if exists (select from pg_roles where rolname = 'quarrier_producer') then
        grant usage on schema quarrier to quarrier_producer;
        grant execute on function quarrier.enqueue(jsonb), quarrier.enqueue_many(jsonb[])
        to quarrier_producer;
    else
        missing := missing || text 'quarrier_producer';
    end if;
    if exists (select from pg_roles where rolname = 'quarrier_reader') then
        grant usage on schema quarrier to quarrier_reader;
        grant select on quarrier.jobs, quarrier.results to quarrier_reader;
    else
        missing := missing || text 'quarrier_reader';
    end if;
    if missing = '{}' then
        return 'quarrier_producer may enqueue, quarrier_reader may read';
    end if;
    return 'missing: ' || array_to_string(missing, ', ')
        || '; let somebody with CREATEROLE create them (nologin), then call this again';
end
$$;
comment on function quarrier.grant_roles is
    'Gives quarrier_producer and quarrier_reader their rights; for the owner of the schema.';
revoke all on function quarrier.grant_roles() from public;

-- Roles belong to the whole server, so another database's store may have made them already.
do $$
declare
    name text;
    answer text;
begin
    foreach name in array array['quarrier_producer', 'quarrier_reader'] loop
        begin
            if not exists (select from pg_roles where rolname = name) then
                execute format('create role %I nologin', name);
            end if;
        exception when duplicate_object or unique_violation or insufficient_privilege then
            null;
        end;
    end loop;
    answer := quarrier.grant_roles();
    if answer like 'missing%' then
        raise notice '%', answer;
    end if;
end
$$;
