-- sqlite: due jobs by lane, queue and tenant, with what their calls reserve. Reads all of them.
select
    lane as "lane!", queue as "queue!", tenant as "tenant!", count(*) as "jobs!: i64",
    sum(input_tokens_max + max_tokens) as "reserved_tokens!: i64"
from job
where state = 'ready' and due = 1
group by lane, queue, tenant
order by count(*) desc, lane, queue, tenant
limit ?1
