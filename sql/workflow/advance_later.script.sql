-- @helper advance_later
--
-- Without the library nothing can be done at the commit: at once.
create function cloaca.advance_later(tenant text, tasks bigint[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform cloaca.advance(tenant, tasks, at);
end
$$;
