-- @function list_workflows(after text = null, max integer = 100) -> name text, version text, tasks integer, defined_at timestamptz
--
-- The current versions of all workflows by name. For paging, pass the last name of a page as `after`.
--
-- after: with a name behind this one
-- max: how many at most, 1 to 10,000
-- Returns: a row for each workflow, ordered by the bytes of the name
-- Errors: invalid_argument
-- Writes: nothing
create type cloaca.workflow_row as (
    name       text,
    version    text,
    tasks      integer,
    defined_at timestamptz
);

create function cloaca.list_workflows(after text default null, max integer default 100) returns setof cloaca.workflow_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.check_max(list_workflows.max);
    return query execute format($query$
        select w.name::text, w.version::text, w.tasks, w.defined_at from %I.cloaca_workflow w
        where w.is_current and ($1 is null or w.name > $1) order by w.name limit $2
        $query$, cloaca.current_tenant()) using list_workflows.after, list_workflows.max;
end
$$;
