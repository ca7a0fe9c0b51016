-- @function enqueue_many(name text, payloads jsonb[], queue text = 'default', priority smallint = 0, run_at timestamptz = null, delay interval = null, keys text[] = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- Puts many tasks of one name into a queue, in one statement and in the caller's transaction. All share the other arguments.
--
-- name: what is to be done, 1 to 200 bytes
-- payloads: one task for each, in this order
-- queue: the queue, 1 to 200 bytes
-- priority: smaller runs first
-- run_at: not before this time; null for at once
-- delay: not before this long from now, 0 to 10 years; instead of run_at
-- keys: a key for each payload, or null for none at all; elements may be null (see enqueue)
-- max_attempts: how often each is tried, 1 to 1,000,000; null for the queue's
-- retry: their own retry policy (see set_queue)
-- Returns: a row for each payload in the order of the array: the task's id, and whether it was created
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.enqueue_many(name text, payloads jsonb[], queue text default 'default', priority smallint default 0,
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
    if enqueue_many.priority is null then
        perform cloaca.raise_condition('invalid_argument', 'The priority must not be null.');
    end if;
    due := cloaca.due(enqueue_many.run_at, enqueue_many.delay, at);
    perform cloaca.check_keys(keys, cardinality(payloads));
    perform cloaca.check_attempts(enqueue_many.max_attempts);
    perform cloaca.check_retry(enqueue_many.retry);

    -- Ids are drawn in the order of the array, for that is the order of running; rows go in by key, so that two calls with the
    -- same keys in another order cannot deadlock.
    execute format($query$
        with item as materialized (
            select i.n, i.payload, i.key, case when i.key is null then i.n else min(i.n) over (partition by i.key) end as first_n
            from unnest($1, $2) with ordinality as i (payload, key, n)
        ), taken as (
            select i.n, coalesce(t.id, f.task) as id
            from item i
            left join %1$I.cloaca_task t on t.queue = $3 and t.key = i.key
            left join %1$I.cloaca_finished_key f on f.queue = $3 and f.key = i.key and f.until > $6
            where i.key is not null and i.n = i.first_n
        ), numbered as materialized (
            select fresh.n, fresh.payload, fresh.key, nextval(pg_get_serial_sequence(%2$L, 'id')) as id
            from (select i.n, i.payload, i.key from item i left join taken k on k.n = i.n
                  where i.n = i.first_n and k.id is null order by i.n) fresh
        ), added as (
            insert into %1$I.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
            select s.id, $3, $4, $5, coalesce($7, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $3), 3),
                $6, $8, s.key, s.payload, $9
            from numbered s order by s.key nulls first, s.id
            on conflict (queue, key) where key is not null do nothing
            returning id
        )
        select array_agg(coalesce(a.id, k.id) order by i.n), array_agg(a.id is not null and i.n = i.first_n order by i.n)
        from item i
        left join taken k on k.n = i.first_n
        left join numbered s on s.n = i.first_n
        left join added a on a.id = s.id
        $query$, tenant, format('%I.cloaca_task', tenant)) into tasks, are_new
        using payloads, keys, enqueue_many.queue, enqueue_many.priority, due, at, enqueue_many.max_attempts, enqueue_many.name,
            enqueue_many.retry;

    if keys is not null then
        return query select * from cloaca.settle_keys(tenant, tasks, are_new, enqueue_many.name, payloads, enqueue_many.queue,
            enqueue_many.priority, due, keys, enqueue_many.max_attempts, enqueue_many.retry, at);
    else
        return query select * from unnest(tasks, are_new);
    end if;
end
$$;
