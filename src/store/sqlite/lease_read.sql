-- sqlite: one lease's beat.
select beat from lease where id = ?1
