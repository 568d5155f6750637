-- sqlite: begins an erasure, unless another process has.
insert into erasure (id, tenant, asked_by, started_at, counts)
values (?1, ?2, ?3, ?4, ?5)
on conflict (tenant) where done_at is null do nothing
