-- @helper check_definition
--
-- Refuses a workflow's definition that is not what define_workflow says, naming the first thing that is wrong.
create function cloaca.check_definition(definition jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    problem text;
    places jsonb;
    item record;
begin
    perform cloaca.check_size(definition, 'definition');
    if coalesce(jsonb_typeof(definition), 'null') <> 'object' then
        perform cloaca.raise_condition('invalid_definition', 'The definition must be an object.');
    end if;
    select format('The definition has an unknown key "%s".', min(k.key collate "C")) into problem
    from jsonb_object_keys(definition) as k (key) where k.key not in ('tasks', 'queue', 'timeout', 'retention')
    having count(*) > 0;
    problem := case
        when problem is not null then problem
        when coalesce(jsonb_typeof(definition -> 'tasks'), 'null') <> 'array'
            or jsonb_array_length(definition -> 'tasks') not between 1 and 10000 then 'The tasks must be an array of 1 to 10000 tasks.'
        when not cloaca.is_name(definition -> 'queue') then 'The queue must have 1 to 200 bytes and no control characters.'
        when not cloaca.is_number(definition -> 'timeout', 0, 315576000) then
            'The timeout must be a number of seconds, more than 0 and at most 315576000.'
        when round((definition ->> 'timeout')::numeric, 6) = 0 then
            'The timeout must be a number of seconds, more than 0 and at most 315576000.'
        when not cloaca.is_number(definition -> 'retention', 0, 315576000) then
            'The retention must be a number of seconds from 0 to 315576000.'
    end;
    if problem is not null then
        perform cloaca.raise_condition('invalid_definition', problem);
    end if;

    -- Where each name is first.
    select jsonb_object_agg(t.name, t.n) into places
    from (
        select i.task ->> 'name' as name, min(i.n) as n from jsonb_array_elements(definition -> 'tasks') with ordinality as i (task, n)
        where jsonb_typeof(i.task -> 'name') = 'string' group by i.task ->> 'name'
    ) t;
    for item in select i.task, i.n from jsonb_array_elements(definition -> 'tasks') with ordinality as i (task, n) order by i.n loop
        problem := cloaca.task_problem(item.task, item.n, places);
        exit when problem is not null;
    end loop;
    problem := coalesce(problem, cloaca.circle(definition -> 'tasks', places));
    if problem is not null then
        perform cloaca.raise_condition('invalid_definition', problem);
    end if;
end
$$;
