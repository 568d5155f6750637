-- postgres: whether a claim may go on, and the time, once the lane's lock is held. The lease stays
-- where it is until the commit: nobody can end it between this look and the claim.
select
    (select beat from quarrier.lease where id = $2 for key share) as beat,
    (select quarrier.ms(paused_until) from quarrier.lane where key = $1) as paused_until,
    (select pause_reason from quarrier.lane where key = $1) as pause_reason,
    exists (select from quarrier.pause) as "pauses!",
    exists (
        select from quarrier.queue where concurrency_max is not null or reserved_permille > 0
    ) as "binds!",
    quarrier.ms(clock_timestamp()) as "now!"
