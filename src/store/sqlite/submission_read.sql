-- sqlite: what other programs have put in, oldest first.
select id, document from submission order by rowid limit ?1
