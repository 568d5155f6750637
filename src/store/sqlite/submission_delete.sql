-- sqlite: admitted submissions go.
delete from submission where id in (select value from json_each(?1))
