-- sqlite: a batch by its name.
select id as "id!: Hyphenated" from batch where name = ?1
