-- postgres: how far each stage of retention has come, and when it last began with the oldest result.
select
    stage, after_seq, policy,
    case when restarted_at > '1970-01-01 00:00:00+00' then quarrier.ms(restarted_at) end as restarted_at
from quarrier.retention
