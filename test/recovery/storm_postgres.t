#!/usr/bin/perl
# 16 claimers with short leases on 100,000 tasks on PostgreSQL, while clients are killed (SIGKILL), backends are terminated and, now
# and then, a backend is killed too, which makes the server restart all of its processes.
#
#   STORM_TASKS=100000
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use storm;
use Test::More;

recovery::under_cluster();
recovery::build();
my $tasks = $ENV{STORM_TASKS} || 100_000;
my $url = recovery::postgres_url();

recovery::must($url, 'create extension cloaca');
recovery::must($url, "select cloaca.set_queue('storm', retention => '1 day', max_attempts => 1000000)");
recovery::must($url, "select count(*) from generate_series(1, $tasks, 10000) first, cloaca.enqueue_many('storm',
    array(select to_jsonb(n) from generate_series(first, least(first + 9999, $tasks)) n), queue => 'storm')");

my ($turn, $terminated, $crashes) = (0, 0, 0);
storm::run($url, $tasks, 16, sub {
    $turn++;
    if ($turn % 15 == 10) {
        my $backend = recovery::ask($url, "select pid from pg_stat_activity where query ~ 'claim|complete' and pid <> pg_backend_pid()
            and backend_type = 'client backend' order by random() limit 1");
        $crashes += recovery::kill_backend($backend) if $backend;
    } elsif ($turn % 4 == 0) {
        $terminated += recovery::ask($url, "select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity
            where query ~ 'claim|complete' and pid <> pg_backend_pid() and backend_type = 'client backend' order by random() limit 2) b") || 0;
    } elsif ($turn % 10 == 5) {
        recovery::ask($url, 'select cloaca.run_maintenance()');
    }
});
note("$terminated backends were terminated, $crashes were killed");
cmp_ok($terminated, '>', 0, 'backends were terminated');
cmp_ok($crashes, '>', 0, 'backends were killed');
done_testing();
