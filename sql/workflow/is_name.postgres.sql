-- @helper is_name
--
-- Whether a value of a document is left out, or a text that check_name lets pass.
create function cloaca.is_name(value jsonb) returns boolean
language sql immutable
return value is null or (jsonb_typeof(value) = 'string' and cloaca.is_plain(value #>> '{}', 200));
