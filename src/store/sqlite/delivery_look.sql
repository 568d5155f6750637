-- sqlite: when a delivery is to be tried next.
select min(next_at) as "next_at?: i64" from delivery where state = 'due'
