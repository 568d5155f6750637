-- postgres: lane time as it was last kept, locked for whoever keeps it next.
select clock from quarrier.lane_clock where one = 1 for update
