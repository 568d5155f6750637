-- postgres: these jobs go.
delete from quarrier.job where id = any($1)
