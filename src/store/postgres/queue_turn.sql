-- postgres: whoever changes shares does so alone, until its commit. The number is this table's.
select pg_advisory_xact_lock(7165821, 4)
