-- @helper bury
--
-- Makes dead letters of live tasks, whose rows the caller has locked.
create function cloaca.bury(tenant text, tasks bigint[], error text, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        with gone as (delete from %1$I.cloaca_task t where t.id = any ($1) returning t.*)
        insert into %1$I.cloaca_dead_letter (task, queue, failed_at, priority, attempt, max_attempts, lease_id, claimed_at,
            enqueued_at, execution, name, worker, key, payload, retry, error, errors)
        select id, queue, $3, priority, attempt, max_attempts, lease_id, claimed_at,
            enqueued_at, execution, name, worker, key, payload, retry, $2, cloaca.add_error(errors, attempt, worker, $2, $3)
        from gone order by id
        $query$, tenant) using bury.tasks, bury.error, bury.at;
end
$$;
