-- postgres: when a delivery is to be tried next, and the time.
select
    quarrier.ms((select min(next_at) from quarrier.delivery where state = 'due')) as next_at,
    quarrier.ms(clock_timestamp()) as "now!"
