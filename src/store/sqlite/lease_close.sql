-- sqlite: a lease ends.
delete from lease where id = ?1
