-- @helper fire_schedule
--
-- Fires a schedule that is due and that the caller has locked: what it starts, the rows of its history, and its next time. Says
-- how many times were to be fired, and how many were. No text is read that is longer than a valid one.
create function cloaca.fire_schedule(tenant text, schedule bigint, at timestamptz, out tried bigint, out fired bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    row record;
    due record;
    made record;
    time timestamptz;
    delay interval := '0';
    longest interval := '0';
begin
    fired := 0;
    execute format($query$
        select left(s.cron, 201) as cron, left(s.timezone, 201) as timezone, left(s.workflow, 201) as workflow, left(s.task, 201) as task,
            left(s.queue, 201) as queue, s.payload, s.priority, s.catch_up, s.max_catch_up, s.ends_at, s.next_at, s.firings
        from %I.cloaca_schedule s where s.id = $1
        $query$, tenant) into row using fire_schedule.schedule;
    due := cloaca.due_times(row.cron, row.timezone, row.catch_up, row.max_catch_up, row.next_at, least(at, row.ends_at), at);
    tried := cardinality(due.fires);
    -- In the order of their times: what is skipped comes first, but where all are run.
    foreach time in array case when due.skipped > 0 and row.catch_up <> 'run_all' then due.skipped_at || due.fires
        when due.skipped > 0 then due.fires || due.skipped_at else due.fires end
    loop
        row.firings := row.firings + 1;
        if time = due.skipped_at then
            execute format($query$
                insert into %I.cloaca_firing (schedule, n, scheduled_at, outcome, count) values ($1, $2, $3, 'skipped', $4)
                $query$, tenant) using fire_schedule.schedule, row.firings, time, due.skipped;
            continue;
        end if;
        made := cloaca.fire(tenant, row.workflow, row.task, row.queue, row.payload, row.priority);
        execute format($query$
            insert into %I.cloaca_firing (schedule, n, scheduled_at, fired_at, outcome, count, task, execution, error)
            values ($1, $2, $3, $4, $5, 1, $6, $7, $8)
            $query$, tenant) using fire_schedule.schedule, row.firings, time, at, case when made.error is null then 'fired' else 'failed' end,
                made.started_task, made.started_execution, made.error;
        fired := fired + (made.error is null)::integer;
        if made.error is null then
            delay := delay + (at - time);
            longest := greatest(longest, at - time);
        end if;
    end loop;

    time := case when due.following <= coalesce(row.ends_at, due.following) then due.following end;
    execute format($query$
        update %I.cloaca_schedule set next_at = $2, last_scheduled_at = $3, firings = $4, fired = fired + $5, failed = failed + $6,
            skipped = skipped + $7, delay = delay + $8, largest_delay = greatest(largest_delay, $9),
            last_fired_at = case when $5 > 0 then $10 else last_fired_at end
        where id = $1
        $query$, tenant) using fire_schedule.schedule, time, due.newest, row.firings, fired, tried - fired, due.skipped, delay, longest, at;
    execute format('delete from %I.cloaca_firing where schedule = $1 and n <= $2', tenant)
        using fire_schedule.schedule, row.firings - 1000;
    perform cloaca.note_due(tenant, time);
end
$$;
