-- @function get_workflow(name text, version text = null) -> name text, version text, definition jsonb, tasks integer, is_current boolean, defined_at timestamptz
--
-- A workflow's definition.
--
-- name: the workflow
-- version: the version; null for the current one
-- Returns: one row
-- Errors: unknown_workflow, invalid_argument
-- Writes: nothing
create type cloaca.workflow_info as (
    name       text,
    version    text,
    definition jsonb,
    tasks      integer,
    is_current boolean,
    defined_at timestamptz
);

create function cloaca.get_workflow(name text, version text default null) returns setof cloaca.workflow_info
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        select w.name::text, w.version::text, w.definition, w.tasks, w.is_current, w.defined_at from %I.cloaca_workflow w
        where w.name = $1 and (w.version = $2 or ($2 is null and w.is_current))
        $query$, cloaca.current_tenant()) using get_workflow.name, get_workflow.version;
    if found then
        return;
    elsif get_workflow.name is null then
        perform cloaca.raise_condition('invalid_argument', 'The name must not be null.');
    elsif get_workflow.version is null then
        perform cloaca.raise_condition('unknown_workflow', format('There is no workflow "%s".', get_workflow.name));
    end if;
    perform cloaca.raise_condition('unknown_workflow',
        format('There is no version %s of workflow "%s".', get_workflow.version, get_workflow.name));
end
$$;
