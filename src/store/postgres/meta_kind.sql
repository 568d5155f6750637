-- postgres: whether the work here is simulated.
select value from quarrier.meta where key = 'simulated'
