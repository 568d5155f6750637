-- postgres: these messages are not held any more.
delete from quarrier.intake where queue = $1 and message_id = any($2)
