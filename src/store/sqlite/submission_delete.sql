-- sqlite: admitted submissions go; what another process has admitted meanwhile is left out.
delete from submission where id in (select value from jsonb_each(?1)) returning id as "id!: String"
