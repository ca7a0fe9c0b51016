#!/usr/bin/perl
# Executions in one SQLite file while the processes that work on them are killed (SIGKILL) at random. Each completion puts a row into a
# table of effects in its own transaction. Whatever was killed: at the end every execution has ended as it must, nothing is stuck, and each
# task had its effect once, under a lease that was valid.
#
#   WORKFLOW_KILL_SECONDS=6    how long to kill
#   WORKFLOW_EXECUTIONS=200
#   WORKFLOW_SEED=1            of the graphs and of what is killed
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use flows;
use Test::More;
use Time::HiRes qw(time);

recovery::build();
recovery::make('programs');
my $url = "sqlite:///$recovery::folder/kills.db";
my $seconds = $ENV{WORKFLOW_KILL_SECONDS} || 6;
my $executions = $ENV{WORKFLOW_EXECUTIONS} || 200;
my $seed = $ENV{WORKFLOW_SEED} || 1;
my $workers = 6;
srand($seed);

flows::set_up($url);
# So that the lease of each completion is kept.
recovery::must($url, "insert into cloaca_queue (queue, paused, lease, max_attempts, retry, retention, key_retention, created_at)
    values ('default', 0, 30000000, 1000000, '{}', 86400000000, 0, 0)");
for my $n (1 .. 10) {
    flows::define($url, "random$n", 1_000_000, flows::random_tasks(1 + $n % 5, 4));
    flows::start($url, "random$n", $executions / 10);
}

my ($begun, $number, $kills, $pause, $seen, @contradictions, @failures) = (time, 0, 0, 50, '');
my @running = map { begin() } 1 .. $workers;
# On a slow machine longer, until some task was begun again.
while ((time < $begun + $seconds || time < $begun + $seconds + $recovery::patience && !again()) && !@failures && !@contradictions) {
    recovery::wait_ms(rand $pause);
    recovery::kill_one(splice @running, rand @running, 1);
    push @running, begin();
    $kills++;
    push @contradictions, grep { $_ } flows::contradictions($url) if $kills % 20 == 0;
    @failures = recovery::failures();
    # Those who never live long enough to do anything live longer.
    if ($kills % 20 == 0) {
        my $now = recovery::ask($url, 'select count(*) from effect') // $seen;
        $pause *= 2 if $now eq $seen;
        $seen = $now;
    }
    # So that there is always something to kill for.
    flows::start($url, "random$_", 10) for (flows::unfinished($url) // 1) < 20 ? 1 .. 10 : ();
}
is_deeply(\@failures, [], 'no worker met an error that no kill explains');
is_deeply(\@contradictions, [], 'at any moment the tables agree with each other');
is(recovery::stop_all(), 0, 'the workers stop when they are told to');
note("$kills kills, ", recovery::must($url, "select count(*) || ' effects, ' || (select count(*) from cloaca_execution where finished_at is null)
    || ' executions to go, attempts up to ' || (select max(attempt) from cloaca_execution_task) from effect"));

# What is left is done undisturbed.
begin() for 1 .. $workers;
is_deeply([flows::until_done($url)], [], 'nor later');
recovery::stop_all();
my (undef, $tasks) = flows::check($url);
is(recovery::must($url, 'select count(*) from effect'), $tasks->{completed}, 'each completed task had its effect, and once');
is(recovery::must($url, "select count(*) from effect f join cloaca_task_history h on h.task = f.task and h.lease_id = f.lease_id
    where h.state = 'completed'"), $tasks->{completed}, 'under the lease that the task was held by');
is($tasks->{failed} // 0, 0, 'no task died');
cmp_ok(again(), '>', 0, 'some were begun by a worker that was killed');
is(recovery::must($url, 'pragma integrity_check'), 'ok', 'the file is in order');
done_testing();

# With a lease of its own length.
sub begin {
    $number++;
    return recovery::start("kills$number", 'flow', $url, "kills$number", (1, 5, 20)[$number % 3], 300 + 300 * ($number % 3), 40);
}

sub again {
    return recovery::must($url, 'select count(*) from cloaca_execution_task where attempt > 1');
}
