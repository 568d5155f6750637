-- sqlite: deliveries that were given up are due again, with their tries forgotten.
update delivery
set
    state = 'due', tries = 0, taken = 0, next_at = ?1, due_since = ?1, ended_at = null, error = null
where job_id in (
    select given_up.job_id from delivery as given_up
    where
        given_up.state = 'undeliverable'
        and (?2 is null or given_up.reply_to = ?2)
        and (?3 is null or given_up.job_id = ?3)
        and given_up.seq < coalesce(?4, 9223372036854775807)
    order by given_up.seq
    limit ?5
)
