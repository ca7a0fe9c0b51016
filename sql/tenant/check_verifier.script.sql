-- @helper check_verifier
--
-- Refuses a password that is no SCRAM verifier: without the library nothing here could make one of it out of the log's sight.
--
-- Errors: not_supported, invalid_argument
create function cloaca.check_verifier(password text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if coalesce(password, '') = '' then
        perform cloaca.raise_condition('not_supported', 'Only the library of cloaca can generate a password in the server.',
            'Create the tenant with the cloaca command or libcloaca, which make the password and its SCRAM verifier.');
    elsif password !~ '^SCRAM-SHA-256\$[1-9][0-9]{0,9}:[A-Za-z0-9+/]+={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$' then
        perform cloaca.raise_condition('invalid_argument', 'The password must be a SCRAM verifier, or null.',
            'The cloaca command and libcloaca turn a password into its verifier before they send it.');
    end if;
end
$$;
