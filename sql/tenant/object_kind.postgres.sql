-- @helper object_kind
--
-- What drop and alter call a kind of object that pg_identify_object names.
create function cloaca.object_kind(type text) returns text
language sql immutable
return case when type in ('function', 'procedure', 'aggregate') then 'routine'
    when type = 'composite type' then 'type'
    when type = 'statistics object' then 'statistics'
    else type end;
