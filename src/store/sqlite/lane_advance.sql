-- sqlite: a claim moves the lane on; never back.
insert into lane (key, place) values (?1, ?2)
on conflict (key) do update set place = max(place, excluded.place)
