-- sqlite: keeps lane time; max() because it never goes back.
insert into lane_clock (one, at, mono_ms, boot_id) values (1, ?1, ?2, ?3)
on conflict (one) do update
set at = max(at, excluded.at), mono_ms = excluded.mono_ms, boot_id = excluded.boot_id
