-- postgres: these messages are not held any more, unless they were received anew since.
delete from quarrier.intake
using unnest($2::text[], $3::text[]) as gone (message_id, receipt)
where intake.queue = $1 and intake.message_id = gone.message_id and intake.receipt = gone.receipt
