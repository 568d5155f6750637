-- sqlite: the workers; the system's locks tell which of them live.
select id as "id!: Hyphenated" from lease where takes_jobs <> 0
