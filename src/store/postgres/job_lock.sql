-- postgres: these jobs are this transaction's until its commit, in the order of their ids. What is
-- read of them and of their attempts afterwards is what stands.
select id from quarrier.job where id = any($1) order by id for no key update
