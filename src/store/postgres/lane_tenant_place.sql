-- postgres: the last places given to these flows (a tenant's jobs of a queue in a lane), what weight
-- each has, and where the lanes stand.
select
    asked.lane as "lane!", asked.queue as "queue!", asked.tenant as "tenant!",
    last.place as "lane_place?", lane_tenant.place as "place?",
    coalesce(queue.weight, 1) * coalesce(tenant.weight, 1) as "weight!"
from unnest($1::text[], $2::text[], $3::text[]) as asked (lane, queue, tenant)
left join quarrier.lane_tenant
    on lane_tenant.lane = asked.lane and lane_tenant.queue = asked.queue
    and lane_tenant.tenant = asked.tenant
left join quarrier.queue on queue.name = asked.queue
left join quarrier.tenant on tenant.name = asked.tenant
left join lateral (
    select place from quarrier.budget where budget.key = 'lane:' || asked.lane
    order by seq desc limit 1
) as last on true
