-- @function get_workflow(name text, version text = null) -> name text, version text, definition jsonb, tasks integer, is_current boolean, defined_at timestamptz
--
-- The current version, or the one that is asked for.

-- @raise invalid_argument
select 'The name must not be null.' as detail where :name is null;

-- @raise unknown_workflow
select case when :version is null then 'There is no workflow "' else 'There is no version ' || :version || ' of workflow "' end
    || :name || '".' as detail
where not exists (
    select 1 from main.cloaca_workflow where name = :name and (version = :version or (:version is null and is_current)));

select name, version, definition, tasks, is_current, defined_at
from main.cloaca_workflow
where name = :name and (version = :version or (:version is null and is_current));
