-- sqlite: these jobs go.
delete from job where id in (select value from jsonb_each(?1))
