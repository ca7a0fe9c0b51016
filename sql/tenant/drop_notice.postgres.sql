-- @helper drop_notice
--
-- Says at `drop extension cloaca` which schemas of tenants stay behind. A member of the extension, it goes with it.
create function cloaca.drop_notice() returns event_trigger
language c
as 'MODULE_PATHNAME', 'cloaca_drop_notice';

create event trigger cloaca_drop_notice on ddl_command_start when tag in ('DROP EXTENSION') execute function cloaca.drop_notice();
