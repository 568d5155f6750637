-- sqlite: whether the work here is simulated.
select value from meta where key = 'simulated'
