-- @helper trigger_problem
--
-- What is wrong with the trigger of a task of a definition; null when nothing is.
create function cloaca.trigger_problem(task jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    name constant text := task ->> 'name';
    trigger constant jsonb := task -> 'trigger';
    quantifier text;
    condition jsonb;
begin
    if trigger is null or trigger = '"always"' then
        return null;
    end if;
    if jsonb_typeof(trigger) = 'object' and (select count(*) from jsonb_object_keys(trigger)) = 1 then
        quantifier := (select jsonb_object_keys(trigger));
    end if;
    if quantifier is null or quantifier not in ('all', 'any', 'none') or jsonb_typeof(trigger -> quantifier) <> 'array' then
        return format('The trigger of task "%s" must be "always", or an object with one of all, any and none and a list of conditions.',
            name);
    end if;
    for condition in select c.condition from jsonb_array_elements(trigger -> quantifier) with ordinality as c (condition, n) order by c.n loop
        if not cloaca.is_condition(condition) then
            return format('A condition of the trigger of task "%s" must have one of task_success, task_failed, task_skipped and '
                'context_value, the last with key, operator and value.', name);
        elsif condition -> 'context_value' is null
            and not coalesce(task -> 'dependencies', '[]') ? (select c.value from jsonb_each_text(condition) as c) then
            return format('The trigger of task "%s" asks for "%s", which is none of its dependencies.',
                name, (select c.value from jsonb_each_text(condition) as c));
        end if;
    end loop;
    return null;
end
$$;
