-- @function enqueue(name text, payload jsonb = '{}', queue text = 'default', priority integer = 0, run_at timestamptz = null, delay interval = null, key text = null, max_attempts integer = null, retry jsonb = null) -> task bigint, created boolean
--
-- Puts one task into a queue, in the caller's transaction: it becomes claimable when that commits.
--
-- name: what is to be done, 1 to 200 bytes; workers choose by it what to run
-- payload: the task's input, a JSON document of at most 64 MiB
-- queue: the queue, 1 to 200 bytes; it need not exist
-- priority: smaller runs first; -32,768 to 32,767
-- run_at: not before this time; null for at once
-- delay: not before this long from now, 0 to 10 years; instead of run_at
-- key: at most one live task of the queue has it, 1 to 500 bytes; where the queue has a key_retention it stays taken for as long
--     after the task was completed
-- max_attempts: how often it is tried, 1 to 1,000,000; null for the queue's
-- retry: its own retry policy, whose keys come before the queue's (see set_queue)
-- Returns: the task's id, and whether it was created; with a key that is taken, the id of the task that has it, and false
-- Errors: invalid_name, invalid_argument
-- Writes: cloaca_task
create function cloaca.enqueue(name text, payload jsonb default '{}', queue text default 'default', priority integer default 0,
    run_at timestamptz default null, delay interval default null, key text default null, max_attempts integer default null,
    retry jsonb default null) returns table (task bigint, created boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    due timestamptz;
    id bigint;
begin
    perform cloaca.check_name(enqueue.name, 'task name');
    perform cloaca.check_name(enqueue.queue, 'queue name');
    perform cloaca.check_payload(enqueue.payload);
    perform cloaca.check_priority(enqueue.priority);
    due := cloaca.due(enqueue.run_at, enqueue.delay, at);
    if enqueue.key is not null then
        perform cloaca.check_name(enqueue.key, 'key', 500);
    end if;
    perform cloaca.check_attempts(enqueue.max_attempts);
    perform cloaca.check_retry(enqueue.retry);

    loop
        if enqueue.key is not null then
            perform cloaca.see_keys(tenant, enqueue.queue, array[enqueue.key], at);
            id := cloaca.key_holder(tenant, enqueue.queue, enqueue.key, null, at);
            if id is not null then
                return query select id, false;
                return;
            end if;
        end if;
        execute format($query$
            insert into %1$I.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
            values ($1, $2, $3, coalesce($4, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $1), 3),
                $5, $6, $7, $8, $9)
            on conflict (queue, key) where key is not null do nothing
            returning id
            $query$, tenant) into id
            using enqueue.queue, enqueue.priority, due, enqueue.max_attempts, at, enqueue.name, enqueue.key, enqueue.payload,
                enqueue.retry;
        -- While this one waited for its turn at the key, a task that had it may have been enqueued and completed.
        if id is not null and enqueue.key is not null
            and cloaca.key_holder(tenant, enqueue.queue, enqueue.key, id, at) is not null then
            execute format('delete from %I.cloaca_task where id = $1', tenant) using id;
            id := null;
        end if;
        if id is not null then
            return query select id, true;
            return;
        end if;
    end loop;
end
$$;
