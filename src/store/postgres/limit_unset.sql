-- postgres: one limit that was set at run time goes.
delete from quarrier.limit_rule where pattern = $1 and origin = 'set'
