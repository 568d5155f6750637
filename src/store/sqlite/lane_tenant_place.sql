-- sqlite: the last place given to a tenant in a lane.
select place, weight from lane_tenant where lane = ?1 and tenant = ?2
