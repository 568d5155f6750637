-- sqlite: one key's state.
select state from budget where key = ?1
