-- sqlite: what configuration seeded goes; what was set at run time stays.
delete from limit_rule where origin <> 'set'
