-- postgres: these keys are this transaction's until its commit. Always in the order of the keys,
-- byte by byte, so that no two transactions wait for each other.
select key from quarrier.budget_key where key = any($1) order by key collate "C" for update
