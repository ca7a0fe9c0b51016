#!/usr/bin/perl
# A background worker that ends in the middle of its work, by whatever: another one goes on with what is due, though nobody notes
# anything more. It looks by itself once an hour here, so that nothing else brings it back.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use sessions;
use Test::More;

recovery::under_cluster('--preload', map { ('--conf', $_) } 'cloaca.background_worker = on', 'cloaca.maintenance_interval = 1h');
recovery::build();
my $url = recovery::postgres_url();
my $worker = "select pid from pg_stat_activity where backend_type = 'cloaca worker' and datname = current_database()";
my $fired = 'select fired from cloaca_default.cloaca_schedule';

# Whether the schedule is fired again, and by which process.
sub goes_on {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = recovery::must($url, $fired);
    ok(recovery::comes(sub { recovery::must($url, $fired) > $before }), $name);
    is(recovery::must($url, 'select cloaca.has_worker()'), 't', 'and has_worker says so');
}

recovery::must($url, 'create extension cloaca');
recovery::must($url, "select cloaca.create_schedule('tick', cron => '* * * * * *', task => 'tick')");
sessions::until_true($url, "select ($fired) > 0");

# The worker stays in a firing for as long as the trigger is there.
sub stop_in_round {
    recovery::must($url, 'create trigger stay before insert on cloaca_default.cloaca_firing for each row execute function public.stay()');
    sessions::until_true($url, "select count(*) = 1 from pg_stat_activity where pid = ($worker) and wait_event = 'PgSleep'");
}

recovery::must($url, 'create function public.stay() returns trigger language plpgsql as $$ begin perform pg_sleep(1000); return new; end $$');

subtest 'terminated' => sub {
    my $at = recovery::must($url, 'select clock_timestamp()');
    stop_in_round();
    is(recovery::must($url, "select xact_start > '$at' from pg_stat_activity where pid = ($worker)"), 't', 'its transaction began when it began');
    my $pid = recovery::must($url, $worker);
    recovery::must($url, "select pg_terminate_backend($pid)");
    recovery::until_gone($pid);
    recovery::must($url, 'drop trigger stay on cloaca_default.cloaca_firing');
    goes_on('another worker fires what is due');
    isnt(recovery::must($url, $worker), $pid, 'which is another process');
};

subtest 'an error between tenants' => sub {
    my $pid = recovery::must($url, $worker);
    recovery::must($url, 'alter table cloaca.tenant rename column owner to possessor');
    recovery::until_gone($pid);
    recovery::must($url, 'alter table cloaca.tenant rename column possessor to owner');
    goes_on('another worker fires what is due, once there is no error');
};

done_testing();
