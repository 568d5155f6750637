-- postgres: states that are not the last any more. The range begins where the one before ended:
-- under a snapshot held elsewhere, what was deleted before is not walked through again.
delete from quarrier.budget where key = $1 and seq >= $2 and seq < $3
