-- postgres: a batch by its name.
select id from quarrier.batch where name = $1
