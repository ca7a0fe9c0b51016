-- @helper url_encode
--
-- Text as a part of a URL: every byte but letters, digits, hyphen, dot, underscore and tilde becomes %XX.
create function cloaca.url_encode(part text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(string_agg(
        case when chr(b.byte) ~ '[A-Za-z0-9._~-]' and b.byte < 128 then chr(b.byte)
            else '%' || lpad(upper(to_hex(b.byte)), 2, '0') end, '' order by b.position), '')
    from (select position, get_byte(convert_to(part, 'UTF8'), position) as byte
        from generate_series(0, length(convert_to(part, 'UTF8')) - 1) as position) b
$$;
