-- @function define_workflow(name text, definition jsonb) -> workflow bigint, version text, created boolean
--
-- Stores a workflow's definition: tasks that depend on each other without circles. Executions that are started from now on follow it;
-- those under way go on with the version that they began with. Defining the same content again changes nothing, and defining an
-- older version makes that the current one.
--
-- A task has `name`, and may have `handler` (what workers see as the task's name; the name), `queue` (the workflow's),
-- `priority` (0), `dependencies` (names of tasks that must have ended before), `trigger` (when it runs, see below), `max_attempts`
-- (3), `retry` (a retry policy, as for enqueue), `timeout` (seconds that an attempt may take) and `input` (an object, merged into
-- what the task sees). The workflow has `tasks`, and may have `queue` (default), `timeout` (seconds that an execution may take) and
-- `retention` (seconds that a finished execution is kept; 2592000).
--
-- A trigger is "always", or an object with one of `all`, `any` and `none` and a list of conditions: {"task_success": name},
-- {"task_failed": name}, {"task_skipped": name} of a dependency, or {"context_value": {"key": name or list of names, "operator": ...,
-- "value": ...}} with equals, not_equals, greater_than, less_than, contains, not_contains, exists or not_exists. Without one a task
-- runs when all its dependencies completed, and is skipped otherwise.
--
-- name: the workflow's name, 1 to 200 bytes
-- definition: {"tasks": [...], ...}, of 1 to 10,000 tasks, at most 64 MiB
-- Returns: the id of the version, the version (of the content: 16 hexadecimal digits), and whether it is new
-- Errors: invalid_name, invalid_argument, invalid_definition
-- Writes: cloaca_workflow, cloaca_workflow_task
create function cloaca.define_workflow(name text, definition jsonb)
returns table (workflow bigint, version text, created boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    content constant text := left(encode(sha256(convert_to(definition::text, 'UTF8')), 'hex'), 16);
    known record;
begin
    perform cloaca.check_name(define_workflow.name, 'workflow name');
    perform cloaca.check_definition(define_workflow.definition);
    -- Those who define wait for each other; those who start do not.
    execute format('lock table %I.cloaca_workflow in share row exclusive mode', tenant);
    execute format('select w.id, w.is_current from %I.cloaca_workflow w where w.name = $1 and w.version = $2', tenant)
        into known using define_workflow.name, content;
    if known.id is null or not known.is_current then
        execute format('update %I.cloaca_workflow w set is_current = false where w.name = $1 and w.is_current', tenant)
            using define_workflow.name;
    end if;
    if known.id is null then
        return query select cloaca.add_workflow(tenant, define_workflow.name, content, define_workflow.definition), content, true;
        return;
    elsif not known.is_current then
        execute format('update %I.cloaca_workflow w set is_current = true where w.id = $1', tenant) using known.id;
    end if;
    return query select known.id, content, false;
end
$$;
