-- sqlite: remembers the last place of each tenant.
insert into lane_tenant (lane, tenant, place)
select value ->> 'lane', value ->> 'tenant', value ->> 'place' from jsonb_each(?1) where true
on conflict (lane, tenant) do update set place = excluded.place
