-- sqlite: attempts that a store had lost and their worker brought back are marked. A column with a
-- constant default: no row is written, so the time at 10 million jobs is some milliseconds under the
-- write lock.

alter table attempt add column restored integer not null default 0;  -- its worker inserted it again
