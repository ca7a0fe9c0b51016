#!/usr/bin/perl
# No wake is lost, and no herd runs: many waiters (test/recovery/waiters.c) under everything that makes tasks claimable, on the direct
# path and by SQL, with shared memory, where what hints have lost is looked for once an hour only, and without, where waiters look from
# time to time.
#
#   WAIT_ROUNDS=100
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use Test::More;

my $rounds = $ENV{WAIT_ROUNDS} || 100;
my @unaided = map { ('--conf', $_) } 'cloaca.repair_interval = 1h', 'cloaca.poll_interval = 60s';
my $setup = 'create extension cloaca; select cloaca.current_tenant()';
my $waiters = 'build/test/recovery_waiters';

recovery::make('all');
recovery::build();

for my $direct ('on', 'off') {
    storm("shared memory, direct $direct", ['--preload', @unaided, '--conf', "cloaca.direct = $direct"], 48, 6, $rounds);
    storm("no shared memory, direct $direct", ['--conf', "cloaca.direct = $direct"], 24, 3, $rounds / 5);
}

my @herd = ('--preload', @unaided, '--conf', 'max_connections = 250');
herd('single tasks', 50, "select cloaca.enqueue('x', queue => 'wait0') from generate_series(1, 50)");
herd('many tasks', 50, "select cloaca.enqueue_many('x', array_fill(jsonb '1', array[50]), queue => 'wait0')");
herd('tasks that are due at once', 50, "select cloaca.enqueue_many('x', array_fill(jsonb '1', array[50]), queue => 'wait0', delay => '200 ms')");
herd('tasks that are due one after the other', 20,
    "select cloaca.enqueue('x', queue => 'wait0', delay => n * interval '50 ms') from generate_series(1, 20) n");
herd('the resume of a queue', 30, "select cloaca.set_queue('wait0', paused => false)",
    "select cloaca.set_queue('wait0', paused => true); select cloaca.enqueue_many('x', array_fill(jsonb '1', array[30]), queue => 'wait0')");
herd('a single task', 1, "select cloaca.enqueue('x', queue => 'wait0')");
done_testing();

# Claims of sessions that are terminated end with them, so that nothing stays behind. There are more waiters than tasks in a round, even when
# the tasks come one by one and some waiters are disturbed: each waits once.
sub storm {
    my ($name, $options, $count, $enqueuers, $rounds) = @_;
    run($name, $options, $setup, $waiters, 'stress', $count, $enqueuers, $rounds);
}

# 200 sleepers; each task is for one of them.
sub herd {
    my ($name, $tasks, $sql, $before) = @_;
    run("$tasks of 200 sleepers: $name", \@herd, "$setup; " . ($before // 'select'), $waiters, 'herd', 200, $tasks, $sql);
}

sub run {
    my ($name, $options, $setup, @command) = @_;
    my $said = "$recovery::folder/said";
    local $ENV{PGOPTIONS} = '-c cloaca.bind_leases=on';
    my $status = system('sh', '-c', 'said=$1; shift; exec test/cluster "$@" >$said 2>&1', 'sh', $said, @$options, '--',
        'sh', '-c', 'psql -X -q -v ON_ERROR_STOP=1 -c "$1" >&2 && shift && exec "$@"', 'sh', $setup, @command);
    my $text = recovery::read_file($said);
    is($status, 0, $name) or diag($text);
    note(grep { /^(rounds|tasks) / } split /^/, $text);
}
