-- postgres: jobs that run already count against their queue's new cap. One that somebody else is
-- changing is ending.
update quarrier.job
set capped = true
where
    id in (
        select id from quarrier.job
        where state = 'running' and not capped and queue = any($1)
        for no key update skip locked
    )
