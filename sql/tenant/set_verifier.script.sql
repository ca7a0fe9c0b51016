-- @helper set_verifier
--
-- Gives a role its password, by a SCRAM verifier that has been checked. An error says nothing of the statement that it came from.
create function cloaca.set_verifier(username text, password text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
    reason text;
begin
    execute format('alter role %I password %L', set_verifier.username, set_verifier.password);
exception
    when others then
        get stacked diagnostics state = returned_sqlstate, reason = message_text;
        raise exception using errcode = state, message = reason;
end
$$;
