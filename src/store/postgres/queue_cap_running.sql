-- postgres: jobs that run already count against their queue's new cap. One that somebody else is
-- changing is ending. An array, so that only these rows are looked up.
update quarrier.job
set capped = true
where
    id = any(array(
        select id from quarrier.job
        where state = 'running' and not capped and queue = any($1)
        for no key update skip locked
    ))
