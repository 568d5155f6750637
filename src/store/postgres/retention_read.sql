-- postgres: how far this stage has come; nothing where another process is at it.
select
    after_seq, policy, quarrier.ms(greatest(restarted_at, '1970-01-01 00:00:00+00')) as "restarted_at!"
from quarrier.retention
where stage = $1
for update skip locked
