create extension cloaca;
select from cloaca.current_tenant();
