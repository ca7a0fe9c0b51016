-- @helper is_plain
--
-- Whether a name has 1 to `bytes` bytes and no control characters (U+0001 to U+001F, U+007F to U+009F): those would break terminals and
-- logs. Null is no name.
create function cloaca.is_plain(name text, bytes integer) returns boolean
language sql immutable
-- In an encoding of one byte a character, those above 127 are letters. E, so that the session's standard_conforming_strings does not
-- matter.
return name is not null and octet_length(name) between 1 and bytes and name !~ E'[\\x01-\\x1f\\x7f]'
    and (octet_length(name) = length(name) or name !~ E'[\\x80-\\x9f]');
