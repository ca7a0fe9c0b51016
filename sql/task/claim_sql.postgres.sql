-- @helper claim_sql
--
-- The SQL path of claim, see there: it serves whatever the direct path, which is in C, does not. On a server without the
-- library it is claim itself.
create type cloaca.claimed_task as (
    task         bigint,
    lease_id     bigint,
    attempt      integer,
    name         text,
    payload      jsonb,
    priority     smallint,
    run_at       timestamptz,
    lease_until  timestamptz,
    max_attempts integer,
    execution    bigint,
    timeout      interval
);

create function cloaca.claim_sql(queue text default 'default', worker text default null, max integer default 1,
    lease interval default null)
returns setof cloaca.claimed_task
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    settings bigint;
begin
    perform cloaca.check_name(claim_sql.queue, 'queue name');
    if claim_sql.worker is not null then
        perform cloaca.check_name(claim_sql.worker, 'worker name');
    end if;
    perform cloaca.check_max(claim_sql.max);
    lease := cloaca.microseconds(claim_sql.lease, 'lease', true) * interval '1 microsecond';
    if current_setting('transaction_isolation') <> 'read committed' then
        -- An old snapshot would not see that the queue was paused since; the lock makes that a serialization failure. Where there
        -- are no settings to lock, an attempt to make some does, which is taken back at once.
        execute format('select from %I.cloaca_queue where queue = $1 for share', tenant) using claim_sql.queue;
        get diagnostics settings = row_count;
        if settings = 0 then
            begin
                execute format('insert into %I.cloaca_queue (queue, created_at) values ($1, $2) on conflict do nothing', tenant)
                    using claim_sql.queue, at;
                raise triggered_action_exception;
            exception when triggered_action_exception then
                null;
            end;
        end if;
    end if;

    -- Priorities are visited one after the other by seeks, so that tasks scheduled for later are never walked over. The update
    -- finds its rows by an array of ids: a join would become a hash join over the whole backlog.
    return query execute format($query$
        with recursive level (priority) as (
            (select t.priority from %1$I.cloaca_task t where t.queue = $1 order by t.priority limit 1)
            union all
            select (select t.priority from %1$I.cloaca_task t
                    where t.queue = $1 and t.priority > level.priority order by t.priority limit 1)
            from level where level.priority is not null
        ), picked as materialized (
            select due.id from level cross join lateral (
                select t.id from %1$I.cloaca_task t
                where t.queue = $1 and t.priority = level.priority and t.run_at <= $2 and not t.cancelled
                    and (t.lease_id is null or (t.lease_until <= $2 and t.attempt < t.max_attempts))
                    and (t.deadline is null or t.deadline > $2)
                order by t.run_at, t.id limit $3 for update skip locked) due
            where level.priority is not null
                and not exists (select from %1$I.cloaca_queue q where q.queue = $1 and q.paused)
            limit $3
        ), claimed as (
            update %1$I.cloaca_task t
            set lease_id = cloaca.new_lease_id(),
                lease_until = least(cloaca.task_end($2, t.timeout, t.deadline),
                    $2 + coalesce($5, (select q.lease from %1$I.cloaca_queue q where q.queue = $1), interval '30 seconds')),
                claimed_at = $2, attempt = t.attempt + 1, worker = $4,
                errors = case when t.lease_id is null then t.errors
                    else cloaca.add_error(t.errors, t.attempt, t.worker,
                        cloaca.lease_error(t.lease_until, cloaca.task_end(t.claimed_at, t.timeout, t.deadline)), $2) end
            where t.id = any (array(select id from picked))
            returning t.*
        ), started as (
            select cloaca.tell_started(%1$L, array_agg(c.execution), array_agg(c.id), array_agg(c.attempt), $4, $2)
            from claimed c where c.execution is not null having count(*) > 0
        )
        select c.id, c.lease_id, c.attempt, c.name, c.payload, c.priority, c.run_at, c.lease_until, c.max_attempts, c.execution,
            c.timeout
        from claimed c cross join (select count(*) as told from started) s
            cross join cloaca.note_claimed(%1$L, c.queue, c.priority, c.run_at, c.id, c.lease_id, c.lease_until)
        where s.told >= 0
        order by c.priority, c.run_at, c.id
        $query$, tenant) using claim_sql.queue, at, claim_sql.max, claim_sql.worker, claim_sql.lease;
end
$$;
