-- sqlite: the receipts, the oldest first.
select id as "id!: Hyphenated", tenant, asked_by, started_at, done_at, counts
from erasure
order by started_at, id
