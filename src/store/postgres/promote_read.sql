-- postgres: jobs whose time has come. What another process is promoting is its own.
select id as "id!", lane as "lane!", queue as "queue!", tenant as "tenant!",
    priority as "priority!", place
from quarrier.job
where state = 'ready' and not due and run_at <= quarrier.at($1)
order by run_at
limit $2
for no key update skip locked
