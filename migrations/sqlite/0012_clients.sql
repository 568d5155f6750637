-- sqlite: which processes take jobs from lanes, so that a client of the library, which makes only
-- its own calls, does not pass for a worker. A column with a constant default: no row is written, so
-- the time at 10 million jobs is some milliseconds under the write lock.

alter table lease add column takes_jobs integer not null default 1;  -- a worker, no client's own calls
