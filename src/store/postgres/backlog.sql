-- postgres: due jobs by lane, queue and tenant, with what their calls reserve. Reads all of them.
select
    lane as "lane!", queue as "queue!", tenant as "tenant!", count(*) as "jobs!",
    sum(input_tokens_max + max_tokens)::bigint as "reserved_tokens!"
from quarrier.job
where state = 'ready' and due
group by lane, queue, tenant
order by count(*) desc, lane, queue, tenant
limit $1
