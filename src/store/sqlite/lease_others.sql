-- sqlite: the other processes, and leases whose row is gone while jobs still run under them.
select id as "id!: Hyphenated", beat as "beat!: i64" from lease where id <> ?1
