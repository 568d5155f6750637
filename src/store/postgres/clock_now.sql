-- postgres: the time, by a statement of its own: now() would be the transaction's start.
select quarrier.ms(clock_timestamp()) as "now!"
