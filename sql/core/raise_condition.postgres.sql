-- @helper raise_condition
--
-- Raises a condition of sql/conditions with its SQLSTATE and message. The build fills in the table.
create function cloaca.raise_condition(condition text, detail text default null, hint text default null) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    raised record;
begin
    select known.sqlstate, known.message into strict raised
    from (values
@CONDITIONS@
    ) as known (condition, sqlstate, message)
    where known.condition = raise_condition.condition;

    if hint is not null then
        raise exception using errcode = raised.sqlstate, message = raised.message, detail = raise_condition.detail,
            hint = raise_condition.hint;
    elsif detail is not null then
        raise exception using errcode = raised.sqlstate, message = raised.message, detail = raise_condition.detail;
    end if;
    raise exception using errcode = raised.sqlstate, message = raised.message;
end
$$;
