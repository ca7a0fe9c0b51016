-- @helper provision_default
--
-- Makes the default tenant, the schema cloaca_default, unless it is there; one that an earlier installation left is adopted. It has
-- no login role: the extension's owner uses it at once, and others when grant_tenant lets them.
create function cloaca.provision_default() returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    -- Two first users at once: the second waits here for the first one's commit.
    lock table cloaca.tenant in share row exclusive mode;
    if exists (select from cloaca.tenant where schema_name = 'cloaca_default') then
        return;
    elsif to_regnamespace('cloaca_default') is not null and not exists (select from pg_namespace where nspname = 'cloaca_default') then
        -- Made since the snapshot of a transaction above read committed, which does not show it.
        raise serialization_failure using message = 'could not serialize access due to concurrent update';
    elsif to_regnamespace('cloaca_default') is not null then
        perform cloaca.adopt('cloaca_default', null);
    else
        perform cloaca.provision('cloaca_default', null);
    end if;
end
$$;
