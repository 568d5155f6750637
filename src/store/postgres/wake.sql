-- postgres: tells processes that wait of new work, once this commits; equal notifications of one
-- commit are one.
select count(pg_notify('quarrier_wake', '')) as told
from (select from quarrier.lease where wake_wanted limit 1) as waiting
