-- @helper enqueue_many_sql
--
-- The SQL path of enqueue_many, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is enqueue_many itself.
create function cloaca.enqueue_many_sql(name text, payloads jsonb[], queue text default 'default', priority integer default 0,
    run_at timestamptz default null, delay interval default null, keys text[] default null, max_attempts integer default null,
    retry jsonb default null) returns table (task bigint, created boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    due timestamptz;
    added record;
begin
    perform cloaca.check_name(enqueue_many_sql.name, 'task name');
    perform cloaca.check_name(enqueue_many_sql.queue, 'queue name');
    perform cloaca.check_payloads(payloads);
    perform cloaca.check_priority(enqueue_many_sql.priority);
    due := cloaca.due(enqueue_many_sql.run_at, enqueue_many_sql.delay, at);
    perform cloaca.check_keys(keys, cardinality(payloads));
    perform cloaca.check_attempts(enqueue_many_sql.max_attempts);
    perform cloaca.check_retry(enqueue_many_sql.retry);

    if keys is null then
        execute format($query$
            with added as (
                insert into %1$I.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, payload, retry)
                select $2, $3, $4, coalesce($6, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $2), 3),
                    $5, $7, i.payload, $8
                from unnest($1) with ordinality as i (payload, n) order by i.n
                returning id, priority, run_at
            )
            select array_agg(id order by id) as tasks,
                min(id) as first, min(priority) as priority, min(run_at) as run_at, count(*) as n
            from added
            $query$, tenant) into added using payloads, enqueue_many_sql.queue, enqueue_many_sql.priority, due, at,
                enqueue_many_sql.max_attempts, enqueue_many_sql.name, enqueue_many_sql.retry;
        if added.n > 0 then
            perform cloaca.note_ready(tenant, enqueue_many_sql.queue, added.priority, added.run_at, added.first, added.n);
        end if;
        return query select t.task, true from unnest(added.tasks) as t (task);
        return;
    end if;

    perform cloaca.see_keys(tenant, enqueue_many_sql.queue, keys, at);
    -- Ids are drawn in the order of the array, for that is the order of running; rows go in by key, so that two calls with the
    -- same keys in another order wait for each other, and do not deadlock.
    execute format($query$
        with item as (
            select i.n, i.payload, i.key, case when i.key is null then i.n else min(i.n) over (partition by i.key) end as first_n
            from unnest($1, $2) with ordinality as i (payload, key, n)
        ), known as (
            -- Looked up key by key: a join might read the whole backlog.
            select i.n, i.first_n, i.payload, i.key, coalesce((select t.id from %1$I.cloaca_task t where t.queue = $3 and t.key = i.key),
                (select f.task from %1$I.cloaca_finished_key f where f.queue = $3 and f.key = i.key and f.until > $6)) as taken
            from item i
            order by i.n
        ), numbered as materialized (
            select k.*, case when k.n = k.first_n and k.taken is null
                then nextval(pg_get_serial_sequence(%2$L, 'id')) end as fresh
            from known k
        ), added as (
            insert into %1$I.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
            select m.fresh, $3, $4, $5, coalesce($7, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $3), 3),
                $6, $8, m.key, m.payload, $9
            from numbered m where m.fresh is not null order by m.key nulls first, m.fresh
            on conflict (queue, key) where key is not null do nothing
            returning id, priority, run_at
        )
        select array_agg(coalesce(a.id, m.taken) order by m.n) as tasks,
            array_agg(a.id is not null and m.n = m.first_n order by m.n) as are_new,
            min(a.id) as first, min(a.priority) as priority, min(a.run_at) as run_at,
            count(*) filter (where a.id is not null and m.n = m.first_n) as n
        from (select m.n, m.first_n, m.taken, max(m.fresh) over (partition by m.first_n) as id from numbered m) m
        left join added a on a.id = m.id
        $query$, tenant, format('%I.cloaca_task', tenant)) into added
        using payloads, keys, enqueue_many_sql.queue, enqueue_many_sql.priority, due, at, enqueue_many_sql.max_attempts,
            enqueue_many_sql.name, enqueue_many_sql.retry;
    if added.n > 0 then
        perform cloaca.note_ready(tenant, enqueue_many_sql.queue, added.priority, added.run_at, added.first, added.n);
    end if;
    return query select * from cloaca.settle_keys(tenant, added.tasks, added.are_new, enqueue_many_sql.name, payloads,
        enqueue_many_sql.queue, enqueue_many_sql.priority, due, keys, enqueue_many_sql.max_attempts, enqueue_many_sql.retry, at);
end
$$;
