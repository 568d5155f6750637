-- postgres: remembers the last place of each flow. Two doors may give the same places at once; the
-- later keeps the greater. Written last, because every door of a flow waits for it.
insert into quarrier.lane_tenant (lane, queue, tenant, place)
select asked.lane, asked.queue, asked.tenant, asked.place
from unnest($1::text[], $2::text[], $3::text[], $4::double precision[])
    as asked (lane, queue, tenant, place)
order by asked.lane, asked.queue, asked.tenant
on conflict (lane, queue, tenant) do update
set place = greatest(lane_tenant.place, excluded.place)
