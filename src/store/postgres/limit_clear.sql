-- postgres: what configuration seeded goes; what was set at run time stays.
delete from quarrier.limit_rule where origin <> 'set'
