-- @helper connection_url
--
-- How a tenant connects, without its password: to cloaca.public_host where that is set, else to the address that this session
-- came to, else to the server's unix socket.
create function cloaca.connection_url(username text) returns text
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    place text := nullif(current_setting('cloaca.public_host', true), '');
    socket text := '';
begin
    if place is null and inet_server_addr() is not null then
        place := format(case family(inet_server_addr()) when 6 then '[%s]:%s' else '%s:%s' end,
            host(inet_server_addr()), inet_server_port());
    elsif place is null then
        socket := format('?host=%s&port=%s',
            cloaca.url_encode(btrim(split_part(current_setting('unix_socket_directories'), ',', 1), ' "')), current_setting('port'));
    end if;
    return format('postgresql://%s@%s/%s%s', cloaca.url_encode(username), place, cloaca.url_encode(current_database()), socket);
exception
    -- Where the socket is, only some roles may read. Whoever came by it knows.
    when insufficient_privilege then
        return format('postgresql://%s@/%s?port=%s', cloaca.url_encode(username), cloaca.url_encode(current_database()),
            current_setting('port'));
end
$$;
