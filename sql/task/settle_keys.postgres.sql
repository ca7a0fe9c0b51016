-- @helper settle_keys
--
-- The end of enqueue_many with keys: other transactions may have taken or finished some of the keys while the rows went in.
-- Those are enqueued again one by one, which waits for and follows whoever has the key.
create function cloaca.settle_keys(tenant text, tasks bigint[], are_new boolean[], name text, payloads jsonb[], queue text,
    priority integer, run_at timestamptz, keys text[], max_attempts integer, retry jsonb, at timestamptz)
returns table (task bigint, created boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    n bigint;
    item record;
begin
    for n in execute format($query$
        with finished as (
            delete from %1$I.cloaca_task t where t.id = any (array(
                select i.task from unnest($1, $2, $4) as i (task, is_new, key)
                where i.is_new and exists (select from %1$I.cloaca_finished_key f
                    where f.queue = $3 and f.key = i.key and f.until > $5)))
            returning t.id
        )
        select i.n from unnest($1) with ordinality as i (task, n)
        where i.task is null or i.task in (select id from finished) order by i.n
        $query$, tenant) using tasks, are_new, settle_keys.queue, keys, settle_keys.at
    loop
        select e.task, e.created into item
        from cloaca.enqueue_sql(settle_keys.name, payloads[n], settle_keys.queue, settle_keys.priority, settle_keys.run_at, null,
            keys[n], settle_keys.max_attempts, settle_keys.retry) e;
        tasks[n] := item.task;
        are_new[n] := item.created;
    end loop;
    return query select * from unnest(tasks, are_new);
end
$$;
