-- sqlite: the last place given to a flow (a tenant's jobs of a queue in a lane), and its weight.
select
    (
        select place from lane_tenant where lane = ?1 and queue = ?2 and tenant = ?3
    ) as "place?: f64",
    coalesce((select weight from queue where name = ?2), 1)
    * coalesce((select weight from tenant where name = ?3), 1) as "weight!: f64"
