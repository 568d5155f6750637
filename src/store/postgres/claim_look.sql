-- postgres: whether a claim may go on, by which limits, as in `claim_new_look`, and the time, once the
-- lane's lock is held. The lease stays where it is until the commit: nobody can end it between this
-- look and the claim.
select
    (select beat from quarrier.lease where id = $2 for key share) as beat,
    (select quarrier.ms(paused_until) from quarrier.lane where key = $1) as paused_until,
    (select pause_reason from quarrier.lane where key = $1) as pause_reason,
    exists (select from quarrier.pause) as "pauses!",
    exists (
        select from quarrier.queue where concurrency_max is not null or reserved_permille > 0
    ) as "binds!",
    (
        select json_agg(
            json_build_array(pattern, requests_per_minute, tokens_per_minute, origin)
            order by pattern collate "C"
        )::text
        from quarrier.limit_rule
    ) as limits,
    quarrier.ms(clock_timestamp()) as "now!"
