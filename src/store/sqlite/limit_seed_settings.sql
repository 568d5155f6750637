-- sqlite: with which queues, tenants and days of retention this process was configured.
update limit_seed set settings = ?2 where seeder = ?1
