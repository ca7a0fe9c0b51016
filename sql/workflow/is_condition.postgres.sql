-- @helper is_condition
--
-- Whether a condition of a trigger has the form of one.
create function cloaca.is_condition(condition jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    kind text;
    test jsonb;
begin
    if jsonb_typeof(condition) <> 'object' or (select count(*) from jsonb_object_keys(condition)) <> 1 then
        return false;
    end if;
    kind := (select jsonb_object_keys(condition));
    test := condition -> kind;
    if kind in ('task_success', 'task_failed', 'task_skipped') then
        return jsonb_typeof(test) = 'string';
    elsif kind <> 'context_value' or jsonb_typeof(test) <> 'object'
        or exists (select from jsonb_object_keys(test) as k (key) where k.key not in ('key', 'operator', 'value'))
        or coalesce(test ->> 'operator', '') not in ('equals', 'not_equals', 'greater_than', 'less_than', 'contains', 'not_contains',
            'exists', 'not_exists')
        or jsonb_typeof(test -> 'operator') <> 'string'
        or (test -> 'value' is null) <> (test ->> 'operator' in ('exists', 'not_exists')) then
        return false;
    end if;
    return case coalesce(jsonb_typeof(test -> 'key'), 'null')
        when 'string' then true
        when 'array' then jsonb_array_length(test -> 'key') > 0
            and not exists (select from jsonb_array_elements(test -> 'key') as k (item) where jsonb_typeof(k.item) <> 'string')
        else false
    end;
end
$$;
