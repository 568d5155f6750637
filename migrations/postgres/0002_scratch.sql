alter table quarrier.lease add column wake_wanted boolean not null default false;
