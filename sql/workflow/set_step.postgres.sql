-- @helper set_step
--
-- Writes a record among the steps of a live task, whose row the caller has locked.
create function cloaca.set_step(tenant text, task bigint, name text, record jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        update %I.cloaca_task t set steps = coalesce(t.steps, '{}') || jsonb_build_object($2::text, $3) where t.id = $1
        $query$, tenant) using set_step.task, set_step.name, set_step.record;
end
$$;
