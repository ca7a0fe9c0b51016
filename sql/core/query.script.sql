-- @helper query
--
-- Without the library the statement is planned each time.
create function cloaca.query(statement text, tenant text, variadic arguments text[]) returns setof record
language plpgsql volatile
as $$
#variable_conflict use_column
begin
    return query execute pg_catalog.replace(statement, '%1$I', pg_catalog.quote_ident(tenant)) using arguments;
end
$$;
