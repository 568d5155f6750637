-- postgres: deliveries that were given up are due again, with their tries forgotten.
update quarrier.delivery
set
    state = 'due', tries = 0, taken = false, next_at = quarrier.at($1), due_since = quarrier.at($1),
    ended_at = null, error = null
where job_id = any(array(
    select given_up.job_id from quarrier.delivery as given_up
    where
        given_up.state = 'undeliverable'
        and ($2::text is null or given_up.reply_to = $2)
        and ($3::uuid is null or given_up.job_id = $3)
        and given_up.seq < coalesce($4::bigint, 9223372036854775807)
    order by given_up.seq
    limit $5
    for no key update skip locked
))
