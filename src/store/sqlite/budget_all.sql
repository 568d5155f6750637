-- sqlite: every key's state.
select key, state from budget order by key
