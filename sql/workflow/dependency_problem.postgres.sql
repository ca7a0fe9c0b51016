-- @helper dependency_problem
--
-- What is wrong with the dependencies of a task of a definition; null when nothing is.
create function cloaca.dependency_problem(task jsonb, places jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    name constant text := task ->> 'name';
    dependencies constant jsonb := coalesce(task -> 'dependencies', '[]');
    wrong text;
begin
    if jsonb_typeof(dependencies) <> 'array' then
        return format('The dependencies of task "%s" must be an array of names.', name);
    elsif exists (select from jsonb_array_elements(dependencies) as d (item) where jsonb_typeof(d.item) <> 'string') then
        return format('The dependencies of task "%s" must be an array of names.', name);
    end if;
    select d.name into wrong from jsonb_array_elements_text(dependencies) with ordinality as d (name, n)
    where places -> d.name is null order by d.n limit 1;
    if wrong is not null then
        return format('Task "%s" depends on "%s", which is no task.', name, wrong);
    end if;
    select d.name into wrong from jsonb_array_elements_text(dependencies) with ordinality as d (name, n)
    group by d.name having count(*) > 1 order by min(d.n) limit 1;
    if wrong is not null then
        return format('Task "%s" depends on "%s" more than once.', name, wrong);
    end if;
    return null;
end
$$;
