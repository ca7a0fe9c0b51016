-- @helper holds
--
-- Whether one condition of a trigger rule holds. Numbers are compared with numbers, and texts, by their bytes, with texts; whatever
-- else is neither greater nor less. A text contains a text, an array an element, an object a key.
create function cloaca.holds(condition jsonb, states jsonb, context jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    kind constant text := (select jsonb_object_keys(condition));
    test constant jsonb := condition -> kind;
    operator constant text := test ->> 'operator';
    path constant text[] := case jsonb_typeof(test -> 'key')
        when 'string' then array[test ->> 'key']
        when 'array' then array(select jsonb_array_elements_text(test -> 'key')) end;
    -- Only objects are descended into: the text "0" is no place in an array.
    actual jsonb := context;
    expected constant jsonb := test -> 'value';
    step text;
begin
    if kind <> 'context_value' then
        return case kind when 'task_success' then states ->> (test #>> '{}') = 'completed'
            when 'task_skipped' then states ->> (test #>> '{}') = 'skipped'
            else states ->> (test #>> '{}') in ('failed', 'cancelled') end;
    end if;
    foreach step in array path loop
        actual := case when jsonb_typeof(actual) = 'object' then actual -> step end;
    end loop;
    return case operator
        when 'exists' then actual is not null
        when 'not_exists' then actual is null
        when 'equals' then coalesce(actual = expected, false)
        when 'not_equals' then coalesce(actual <> expected, true)
        when 'greater_than' then coalesce(cloaca.compare(actual, expected) > 0, false)
        when 'less_than' then coalesce(cloaca.compare(actual, expected) < 0, false)
        when 'contains' then coalesce(cloaca.contains(actual, expected), false)
        else not coalesce(cloaca.contains(actual, expected), false)
    end;
end
$$;
