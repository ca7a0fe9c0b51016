-- @helper refuse_finished
--
-- Raises when an execution in this state has ended.
create function cloaca.refuse_finished(execution bigint, state text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if state in ('completed', 'failed', 'cancelled') then
        perform cloaca.raise_condition('execution_finished', format('Execution %s is %s.', execution, state));
    end if;
end
$$;
