-- postgres: these jobs are this transaction's until its commit, in the order of their ids. A locked
-- row is shown as it stands once it is locked, so that nothing of it need be read again.
select
    id as "id!", lane as "lane!", case when state = 'running' then fence end as "running?",
    bodies_gone_at is not null as "gone!"
from quarrier.job
where id = any($1)
order by id
for no key update
