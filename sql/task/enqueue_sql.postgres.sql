-- @helper enqueue_sql
--
-- The SQL path of enqueue, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is enqueue itself.
create function cloaca.enqueue_sql(name text, payload jsonb default '{}', queue text default 'default', priority integer default 0,
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
    holder bigint;
    added record;
begin
    perform cloaca.check_name(enqueue_sql.name, 'task name');
    perform cloaca.check_name(enqueue_sql.queue, 'queue name');
    perform cloaca.check_payload(enqueue_sql.payload);
    perform cloaca.check_priority(enqueue_sql.priority);
    due := cloaca.due(enqueue_sql.run_at, enqueue_sql.delay, at);
    if enqueue_sql.key is not null then
        perform cloaca.check_name(enqueue_sql.key, 'key', 500);
    end if;
    perform cloaca.check_attempts(enqueue_sql.max_attempts);
    perform cloaca.check_retry(enqueue_sql.retry);

    loop
        if enqueue_sql.key is not null then
            perform cloaca.see_keys(tenant, enqueue_sql.queue, array[enqueue_sql.key], at);
            holder := cloaca.key_holder(tenant, enqueue_sql.queue, enqueue_sql.key, null, at);
            if holder is not null then
                return query select holder, false;
                return;
            end if;
        end if;
        execute format($query$
            insert into %1$I.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, key, payload, retry)
            values ($1, $2, $3, coalesce($4, (select q.max_attempts from %1$I.cloaca_queue q where q.queue = $1), 3),
                $5, $6, $7, $8, $9)
            on conflict (queue, key) where key is not null do nothing
            returning id, queue, priority, run_at
            $query$, tenant) into added
            using enqueue_sql.queue, enqueue_sql.priority, due, enqueue_sql.max_attempts, at, enqueue_sql.name, enqueue_sql.key,
                enqueue_sql.payload, enqueue_sql.retry;
        -- While this one waited for its turn at the key, a task that had it may have been enqueued and completed.
        if added.id is not null and enqueue_sql.key is not null
            and cloaca.key_holder(tenant, enqueue_sql.queue, enqueue_sql.key, added.id, at) is not null then
            execute format('delete from %I.cloaca_task where id = $1', tenant) using added.id;
        elsif added.id is not null then
            perform cloaca.note_ready(tenant, added.queue, added.priority, added.run_at, added.id, 1);
            return query select added.id, true;
            return;
        end if;
        -- Without a key nobody is waited for: somebody's trigger did not let it in.
        exit when enqueue_sql.key is null;
    end loop;
end
$$;
