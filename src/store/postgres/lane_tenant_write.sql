-- postgres: remembers the last place of each tenant. Two doors may give the same places at once;
-- the later keeps the greater. Written last, because every door of a tenant waits for it.
insert into quarrier.lane_tenant (lane, tenant, place)
select asked.lane, asked.tenant, asked.place
from unnest($1::text[], $2::text[], $3::double precision[]) as asked (lane, tenant, place)
order by asked.lane, asked.tenant
on conflict (lane, tenant) do update set place = greatest(lane_tenant.place, excluded.place)
