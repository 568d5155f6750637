-- postgres: admitted submissions go.
delete from quarrier.submission where id = any($1)
