-- @helper query
--
-- Without the library the statement is planned each time.
create function cloaca.query(statement text, tenant text, variadic arguments text[]) returns setof record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
begin
    return query execute replace(statement, '%1$I', quote_ident(tenant)) using arguments;
end
$$;
