-- sqlite: these messages are not held any more.
delete from intake where queue = ?1 and message_id in (select value from jsonb_each(?2))
