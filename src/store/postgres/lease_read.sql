-- postgres: one lease's beat, which stands still until this transaction's commit.
select beat from quarrier.lease where id = $1 for update
