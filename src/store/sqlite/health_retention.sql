-- sqlite: how far each stage of retention has come, and when it last began with the oldest result.
select stage, after_seq, policy, nullif(restarted_at, 0) as "restarted_at?: i64" from retention
