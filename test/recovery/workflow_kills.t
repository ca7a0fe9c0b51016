#!/usr/bin/perl
# Hundreds of executions while workers are killed (SIGKILL), backends are terminated and killed, and the whole server is killed and started
# again, at random. Each completion puts a row into a table of effects in its own transaction. Whatever was killed: at the end every
# execution has ended as it must, nothing is stuck, and each task had its effect once, under a lease that was valid.
#
#   WORKFLOW_KILL_SECONDS=12   how long to kill; 120 for a whole run
#   WORKFLOW_EXECUTIONS=600    1000 for a whole run
#   WORKFLOW_SEED=1            of the graphs and of what is killed
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use flows;
use Test::More;
use Time::HiRes qw(time);

recovery::under_cluster('--durable', '--preload');
recovery::build();
$recovery::program = 'build/test/recovery_flows';
my $url = recovery::postgres_url();
my $seconds = $ENV{WORKFLOW_KILL_SECONDS} || 12;
my $executions = $ENV{WORKFLOW_EXECUTIONS} || 600;
my $seed = $ENV{WORKFLOW_SEED} || 1;
my $workers = 8;
srand($seed);

flows::set_up($url);
for my $n (1 .. 10) {
    flows::define($url, "random$n", 1_000_000, flows::random_tasks(1 + $n % 4, 2));
    flows::start($url, "random$n", $executions / 10);
}

my ($begun, $number, $turn, %kills, %running, @failures) = (time, 0, 0);
begin() for 1 .. $workers;
my $restart = $begun + $seconds / 3;
# On a slow machine longer, until something of each kind was killed.
my @kinds = qw(workers backends servers terminated);
while ((time < $begun + $seconds || time < $begun + $seconds + $recovery::patience && grep { !$kills{$_} } @kinds) && !@failures) {
    recovery::wait_ms(100);
    $turn++;
    if (time > $restart) {
        recovery::kill_postmaster();
        recovery::start_postmaster();
        $restart = time + $seconds / 3;
        $kills{servers}++;
    } elsif ($turn % 20 == 10) {
        my $backend = backend();
        $kills{backends}++ if $backend && recovery::kill_backend($backend);
    } elsif ($turn % 3 == 0) {
        $kills{terminated}++ if recovery::ask($url, 'select pg_terminate_backend(' . (backend() || 0) . ')');
    } elsif ($turn % 4 == 1) {
        my ($victim) = sort { rand() <=> 0.5 } keys %running;
        recovery::kill_one($victim);
        delete $running{$victim};
        begin();
        $kills{workers}++;
    }
    @failures = recovery::failures();
}
is_deeply(\@failures, [], 'no worker met an error that no fault explains');
is(recovery::stop_all(), 0, 'the workers stop when they are told to');
recovery::until_up($url);
note(flows::encode(\%kills), ', ', recovery::must($url, "select count(*) || ' effects, ' || (select count(*) from cloaca_default.cloaca_execution
    where finished_at is null) || ' executions to go' from effect"));
cmp_ok($kills{$_} // 0, '>', 0, "$_ were killed") for @kinds;

# What is left is done undisturbed.
begin() for 1 .. $workers;
is_deeply([flows::until_done($url)], [], 'nor later');
recovery::stop_all();
my (undef, $tasks) = flows::check($url);
is(recovery::must($url, 'select count(*) from effect'), $tasks->{completed}, 'each completed task had its effect, and once');
is($tasks->{failed} // 0, 0, 'no task died');
done_testing();

# One that only completes, with a lease of its own length.
sub begin {
    $number++;
    $running{ recovery::start("kills$number", $url, "kills$number", $seed * 1000 + $number, 0, 500 + 500 * ($number % 3), 1, 1) } = 1;
}

# The process of a backend of some worker.
sub backend {
    return recovery::ask($url, "select pid from pg_stat_activity where query ~ 'claim|complete' and pid <> pg_backend_pid()
        and backend_type = 'client backend' order by random() limit 1");
}
