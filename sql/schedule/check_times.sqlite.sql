-- @part check_times
--
-- Refuses a cron expression that is none, and a time zone that does not exist or that this system cannot serve.

-- @raise invalid_name
select 'The time zone must have 1 to 200 bytes and no control characters.' as detail
where :timezone is null or length(cast(:timezone as blob)) not between 1 and 200
    or :timezone glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select cloaca_cron_problem(:cron) as detail where cloaca_cron_problem(:cron) is not null;

-- @raise invalid_argument
select 'Time zone "' || :timezone || '" does not exist.' as detail,
    'Name a zone of the IANA database, such as Europe/Berlin.' as hint
where cloaca_zone_problem(:timezone) = 'unknown';

-- @raise not_supported
select 'Time zones other than UTC need the library libglib-2.0.so.0, which cannot be loaded.' as detail,
    'Install GLib (libglib2.0-0 on Debian), or use UTC.' as hint
where cloaca_zone_problem(:timezone) = 'no library';
