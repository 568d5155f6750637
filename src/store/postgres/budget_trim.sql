-- postgres: states that are not the last any more, and what calls took that the last one has. The
-- ranges begin where those before ended: under a snapshot held elsewhere, what was deleted before is
-- not walked through again.
with booked as (
    delete from quarrier.settlement where key = $1 and seq > $4 and seq <= $5
)
delete from quarrier.budget where key = $1 and seq >= $2 and seq < $3
