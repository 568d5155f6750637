-- sqlite: held messages of a queue in the order of their ids.
select
    message_id as "message_id!", receipt as "receipt!", job_id as "job_id!: Hyphenated",
    received_at as "received_at!: i64"
from intake
where queue = ?1 and message_id > ?2
order by message_id
limit ?3
