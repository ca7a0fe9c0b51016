-- @function enqueue_many(name text, payloads jsonb[], queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, keys text[] = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- Puts many tasks of one name into a queue, in one statement and in the caller's transaction. All share the other arguments.
--
-- name: what is to be done, 1 to 200 bytes
-- payloads: one task for each, in this order
-- queue: the queue, 1 to 200 bytes
-- priority: smaller runs first; -32,768 to 32,767
-- run_at: not before this time; null for at once
-- delay: not before this long from now, 0 to 10 years; instead of run_at
-- keys: a key for each payload, or null for none at all; elements may be null (see enqueue)
-- max_attempts: how often each is tried, 1 to 1,000,000; null for the queue's
-- retry: their own retry policy (see set_queue)
-- Returns: a row for each payload in the order of the array: the task's id, and whether it was created
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.enqueue_many(name text, payloads jsonb[], queue text default 'default', priority integer default 0,
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
    tasks bigint[];
    are_new boolean[];
begin
    perform cloaca.check_name(enqueue_many.name, 'task name');
    perform cloaca.check_name(enqueue_many.queue, 'queue name');
    perform cloaca.check_payloads(payloads);
    perform cloaca.check_priority(enqueue_many.priority);
    due := cloaca.due(enqueue_many.run_at, enqueue_many.delay, at);
    perform cloaca.check_keys(keys, cardinality(payloads));
    perform cloaca.check_attempts(enqueue_many.max_attempts);
    perform cloaca.check_retry(enqueue_many.retry);

    if keys is null then
        return query execute format($query$
            with added as (
                insert into %1$I.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, payload, retry)
                select $2, $3, $4, coalesce($6, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $2), 3),
                    $5, $7, i.payload, $8
                from unnest($1) with ordinality as i (payload, n) order by i.n
                returning id
            )
            select id, true from added order by id
            $query$, tenant) using payloads, enqueue_many.queue, enqueue_many.priority, due, at, enqueue_many.max_attempts,
                enqueue_many.name, enqueue_many.retry;
        return;
    end if;

    perform cloaca.see_keys(tenant, enqueue_many.queue, keys, at);
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
            returning id
        )
        select array_agg(coalesce(a.id, m.taken) order by m.n), array_agg(a.id is not null and m.n = m.first_n order by m.n)
        from (select m.n, m.first_n, m.taken, max(m.fresh) over (partition by m.first_n) as id from numbered m) m
        left join added a on a.id = m.id
        $query$, tenant, format('%I.cloaca_task', tenant)) into tasks, are_new
        using payloads, keys, enqueue_many.queue, enqueue_many.priority, due, at, enqueue_many.max_attempts, enqueue_many.name,
            enqueue_many.retry;
    return query select * from cloaca.settle_keys(tenant, tasks, are_new, enqueue_many.name, payloads, enqueue_many.queue,
        enqueue_many.priority, due, keys, enqueue_many.max_attempts, enqueue_many.retry, at);
end
$$;
