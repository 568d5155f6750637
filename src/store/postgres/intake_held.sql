-- postgres: held messages of a queue in the order of their ids.
select message_id, receipt, job_id, quarrier.ms(received_at) as "received_at!"
from quarrier.intake
where queue = $1 and message_id > $2
order by message_id
limit $3
