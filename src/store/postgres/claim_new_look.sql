-- postgres: all that decides whether new jobs of one lane may run as they are admitted, once their
-- keys are locked: with those keys' last states, what finished calls took since, in the order of their
-- commits, and the time. The lease stays where it is until the commit. Lists are JSON:
-- limits as [pattern, requests, tokens, origin], queues that bind a claim as [name, cap, share,
-- weight], the jobs' flows as [queue, tenant, last place, weight], states as [key, place, state,
-- settled, calls], places as text, which is exact.
select
    (select beat from quarrier.lease where id = $2 for key share) as beat,
    (select quarrier.ms(paused_until) from quarrier.lane where key = $1) as paused_until,
    (select pause_reason from quarrier.lane where key = $1) as pause_reason,
    exists (select from quarrier.pause) as "pauses!",
    -- In the order of place, or the planner might look for one along another index, through all lanes.
    coalesce((
        select true from quarrier.job where lane = $1 and state = 'ready' and due
        order by place limit 1
    ), false) as "is_busy!",
    exists (
        select
        from unnest($3::text[], $4::text[]) as asked (tenant, identity)
        join quarrier.seen on seen.tenant = asked.tenant and seen.identity = asked.identity
    ) or exists (
        select
        from unnest($5::text[], $6::text[]) as asked (tenant, key)
        join quarrier.job
            on job.tenant = asked.tenant and job.dedupe_key = asked.key
            and job.dedupe_key is not null and job.ended_at is null
    ) as "is_known!",
    (
        select json_agg(
            json_build_array(pattern, requests_per_minute, tokens_per_minute, origin)
            order by pattern collate "C"
        )::text
        from quarrier.limit_rule
    ) as limits,
    (
        select json_agg(
            json_build_array(name, concurrency_max, reserved_permille, weight)
            order by name collate "C"
        )::text
        from quarrier.queue
        where concurrency_max is not null or reserved_permille > 0
    ) as queues,
    (
        select json_agg(json_build_array(
            asked.queue, asked.tenant, lane_tenant.place::text,
            coalesce(queue.weight, 1) * coalesce(tenant.weight, 1)
        ))::text
        from unnest($7::text[], $8::text[]) as asked (queue, tenant)
        left join quarrier.lane_tenant
            on lane_tenant.lane = $1 and lane_tenant.queue = asked.queue
            and lane_tenant.tenant = asked.tenant
        left join quarrier.queue on queue.name = asked.queue
        left join quarrier.tenant on tenant.name = asked.tenant
    ) as flows,
    (
        select json_agg(json_build_array(
            asked.key, last.place::text, last.state, greatest(last.settled, since.last), since.calls
        ))::text
        from unnest($9::text[]) as asked (key)
        left join lateral (
            select place, state, settled from quarrier.budget
            where budget.key = asked.key order by seq desc limit 1
        ) as last on true
        cross join lateral (
            select max(seq) as last, '[' || string_agg(calls, ',' order by seq) || ']' as calls
            from quarrier.settlement
            where settlement.key = asked.key and seq > coalesce(last.settled, 0)
        ) as since
    ) as states,
    quarrier.ms(clock_timestamp()) as "now!"
