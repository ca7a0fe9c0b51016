-- @helper task_problem
--
-- What is wrong with a task of a definition, the n-th; null when nothing is. `places` says where each name is first.
create function cloaca.task_problem(task jsonb, n bigint, places jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    name constant text := task ->> 'name';
    unknown text;
begin
    if jsonb_typeof(task) <> 'object' then
        return format('Task %s must be an object.', n);
    end if;
    select min(k.key collate "C") into unknown from jsonb_object_keys(task) as k (key)
    where k.key not in ('name', 'handler', 'queue', 'priority', 'dependencies', 'trigger', 'max_attempts', 'retry', 'timeout', 'input');
    return case
        when unknown is not null then format('Task %s has an unknown key "%s".', n, unknown)
        when task -> 'name' is null or not cloaca.is_name(task -> 'name') then
            format('Task %s must have a name of 1 to 200 bytes and no control characters.', n)
        when (places ->> name)::bigint <> n then format('Task %s has the name of task %s, "%s".', n, places ->> name, name)
        when not cloaca.is_name(task -> 'handler') then
            format('The handler of task "%s" must have 1 to 200 bytes and no control characters.', name)
        when not cloaca.is_name(task -> 'queue') then
            format('The queue of task "%s" must have 1 to 200 bytes and no control characters.', name)
        when not cloaca.is_number(task -> 'priority', -32768, 32767, true) then
            format('The priority of task "%s" must be an integer from -32768 to 32767.', name)
        when not cloaca.is_number(task -> 'max_attempts', 1, 1000000, true) then
            format('The max_attempts of task "%s" must be an integer from 1 to 1000000.', name)
        when not cloaca.is_number(task -> 'timeout', 0, 315576000) then
            format('The timeout of task "%s" must be a number of seconds, more than 0 and at most 315576000.', name)
        when round((task ->> 'timeout')::numeric, 6) = 0 then
            format('The timeout of task "%s" must be a number of seconds, more than 0 and at most 315576000.', name)
        when not cloaca.is_retry(task -> 'retry') then format('The retry policy of task "%s" is none; see enqueue.', name)
        when jsonb_typeof(task -> 'input') <> 'object' then format('The input of task "%s" must be an object.', name)
        else coalesce(cloaca.dependency_problem(task, places), cloaca.trigger_problem(task))
    end;
end
$$;
