-- sqlite: lane time as it was last kept.
select at, mono_ms, boot_id from lane_clock where one = 1
