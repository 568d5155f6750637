-- sqlite: remembers the last place of each flow.
insert into lane_tenant (lane, queue, tenant, place)
select value ->> 'lane', value ->> 'queue', value ->> 'tenant', value ->> 'place'
from jsonb_each(?1) where true
on conflict (lane, queue, tenant) do update set place = excluded.place
