-- postgres: where a lane stands, and whether it is paused. Its place is kept with its budget.
select
    (
        select place from quarrier.budget where key = 'lane:' || $1 order by seq desc limit 1
    ) as "place?",
    (select quarrier.ms(paused_until) from quarrier.lane where key = $1) as "paused_until?"
