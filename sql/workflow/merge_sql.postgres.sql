-- @helper merge_sql
--
-- The twin of merge, see there, which it is on a server without the library. It goes key by key, so that a thousand small documents do
-- not copy a growing one a thousand times.
create function cloaca.merge_sql(documents jsonb[]) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    merged jsonb;
    item jsonb;
    types text[];
begin
    documents := array_remove(documents, null);
    if coalesce(cardinality(documents), 0) <= 1 then
        return documents[1];
    end if;
    types := array(select distinct jsonb_typeof(d.item) from unnest(documents) as d (item));
    if types = '{object}' then
        return (
            select coalesce(jsonb_object_agg(k.key, k.value), '{}')
            from (
                select e.key, case count(*) when 1 then (array_agg(e.value))[1]
                    else cloaca.merge_sql(array_agg(e.value order by d.n)) end as value
                from unnest(documents) with ordinality as d (item, n) cross join jsonb_each(d.item) as e
                group by e.key
            ) k);
    end if;

    foreach item in array documents loop
        if jsonb_typeof(merged) = 'object' and jsonb_typeof(item) = 'object' then
            merged := cloaca.merge_sql(array[merged, item]);
        elsif jsonb_typeof(merged) = 'array' and jsonb_typeof(item) = 'array' then
            merged := merged || (
                select coalesce(jsonb_agg(e.value order by e.n), '[]')
                from (
                    select distinct on (i.value) i.value, i.n
                    from jsonb_array_elements(item) with ordinality as i (value, n)
                    where not exists (select from jsonb_array_elements(merged) as m (value) where m.value = i.value)
                    order by i.value, i.n
                ) e);
        else
            merged := item;
        end if;
    end loop;
    return merged;
end
$$;
