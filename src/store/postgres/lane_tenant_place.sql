-- postgres: the last places given to these tenants in these lanes, and where the lanes stand.
select
    asked.lane as "lane!", asked.tenant as "tenant!", last.place as "lane_place?",
    lane_tenant.place as "place?", lane_tenant.weight as "weight?"
from unnest($1::text[], $2::text[]) as asked (lane, tenant)
left join quarrier.lane_tenant
    on lane_tenant.lane = asked.lane and lane_tenant.tenant = asked.tenant
left join lateral (
    select place from quarrier.budget where budget.key = 'lane:' || asked.lane
    order by seq desc limit 1
) as last on true
