-- sqlite: what other programs have put in, oldest first. Bytes, because nothing keeps them from
-- inserting what is not text.
select id, cast(document as blob) as "document!: Vec<u8>" from submission order by rowid limit ?1
