-- @helper use_zone
--
-- Makes a time zone the session's, for as long as the function lasts that calls this and has a SET clause for it. Only names of
-- the IANA database are taken, as they are spelled there: no abbreviations, no rules of POSIX, which have digits, and none of
-- what lies beside the zones.
create function cloaca.use_zone(timezone text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if timezone ~ '^[A-Za-z]([A-Za-z_/-]*[A-Za-z])?$' and timezone !~ '^(localtime|posixrules|leapseconds|Factory|(posix|right)/.*)$'
        or timezone ~ '^(GMT[+-]?0|(EST5E|CST6C|MST7M|PST8P)DT|Etc/GMT([+-]?0|[+-][1-9]|[+]1[0-2]|-1[0-4]))$' then
        begin
            perform set_config('timezone', use_zone.timezone, true);
            if current_setting('timezone') = use_zone.timezone then
                return;
            end if;
        exception when invalid_parameter_value then
            null;
        end;
    end if;
    perform cloaca.raise_condition('invalid_argument', format('Time zone "%s" does not exist.', use_zone.timezone),
        'Name a zone of the IANA database, such as Europe/Berlin.');
end
$$;
