-- @helper check_name
--
-- Refuses a name that is null, empty, longer than `bytes`, or holds control characters (U+0001 to U+001F, U+007F to U+009F): it would
-- break terminals and logs.
create function cloaca.check_name(name text, what text, bytes integer default 200) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- In an encoding of one byte a character, those above 127 are letters. E, so that the session's standard_conforming_strings does
    -- not matter.
    if name is null or octet_length(name) not between 1 and bytes or name ~ E'[\\x01-\\x1f\\x7f]'
        or (octet_length(name) > length(name) and name ~ E'[\\x80-\\x9f]') then
        perform cloaca.raise_condition('invalid_name',
            format('The %s must have 1 to %s bytes and no control characters.', what, bytes));
    end if;
end
$$;
