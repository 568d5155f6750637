-- sqlite: documents are taken back.
delete from submission where id in (select value from jsonb_each(?1))
returning id as "key!: String", cast(document as blob) as "document!: Vec<u8>"
