with claimed as (
    update plain.task t set lease_id = (random() * 1e18)::bigint, lease_until = clock_timestamp() + interval '30 s',
        claimed_at = clock_timestamp(), attempt = attempt + 1, worker = 'bench'
    where t.id = any (array(select id from plain.task where queue = 'bench' and run_at <= clock_timestamp() and not cancelled
        and (lease_id is null or (lease_until <= clock_timestamp() and attempt < max_attempts))
        order by priority, run_at, id limit :batch for update skip locked))
    returning t.*
)
select array_agg(id) as tasks, array_agg(lease_id) as leases from claimed \gset
delete from plain.task t using unnest(:tasks::bigint[], :leases::bigint[]) p (id, lease) where t.id = p.id and t.lease_id = p.lease;
