-- sqlite: these messages are not held any more, unless they were received anew since.
delete from intake
where queue = ?1 and (message_id, receipt) in (
    select value ->> 0, value ->> 1 from jsonb_each(?2)
)
