-- @helper fires
--
-- Whether a task runs, by its trigger rule: `states` has the state of each dependency by name, `context` is what the task would see.
-- Without a rule all dependencies must have completed.
create function cloaca.fires(trigger jsonb, states jsonb, context jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    quantifier text;
    holding bigint;
    failing bigint;
begin
    if trigger = '"always"' then
        return true;
    elsif trigger is null then
        return not exists (select from jsonb_each_text(states) as s where s.value <> 'completed');
    end if;
    quantifier := (select jsonb_object_keys(trigger));
    select count(*) filter (where cloaca.holds(c.condition, states, context)),
        count(*) filter (where not cloaca.holds(c.condition, states, context)) into holding, failing
    from jsonb_array_elements(trigger -> quantifier) as c (condition);
    return case quantifier when 'all' then failing = 0 when 'any' then holding > 0 else holding = 0 end;
end
$$;
