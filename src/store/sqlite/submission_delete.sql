-- sqlite: admitted submissions go.
delete from submission where id in (select value from jsonb_each(?1))
