#!/usr/bin/perl
# The postmaster is killed (SIGKILL) again and again under load, in a durable cluster: no enqueue and no completion that a client was
# told of is lost, and the clients get over it.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use Test::More;

recovery::under_cluster('--durable');
recovery::build();
my $url = recovery::postgres_url();

recovery::must($url, 'create extension cloaca');
recovery::must($url, "select cloaca.set_queue('storm', retention => '1 day', max_attempts => 1000000)");
is(recovery::must($url, "select current_setting('fsync') || current_setting('synchronous_commit') || current_setting('full_page_writes')"),
    'ononon', 'the server is durable');
recovery::start("producer$_", 'enqueue', $url, $_ * 10_000_000, ($_ + 1) * 10_000_000 - 1, (1, 7, 50)[$_ - 1], "$recovery::folder/p$_.log")
    for 1 .. 3;
recovery::start("worker$_", 'work', $url, "worker$_", (1, 5, 40)[$_ - 1], 2000, "$recovery::folder/w$_.log") for 1 .. 3;

for my $round (1 .. 4) {
    # Under load: only when the clients are at work again.
    my ($tasks, $done) = (promised('task'), promised('done'));
    recovery::comes(sub { promised('task') > $tasks + 500 && promised('done') > $done + 30 }) or die "nothing is done\n";
    recovery::wait_ms(500 + rand 500);
    recovery::kill_postmaster();
    recovery::start_postmaster();
}
is_deeply([recovery::failures()], [], 'no client met an error that no fault explains');
is(recovery::stop_all(), 0, 'the clients stop when they are told to');

my %live = map { split /\|/, $_, 2 } split /\n/, recovery::must($url, 'select id, payload from cloaca_default.cloaca_task');
my (%payload, %lease);
for (split /\n/, recovery::must($url, 'select task, payload, lease_id, state from cloaca_default.cloaca_task_history')) {
    my ($task, $payload, $lease, $state) = split /\|/;
    $payload{$task} = $payload;
    $lease{$task} = $lease if $state eq 'completed';
}
is(scalar(grep { exists $payload{$_} } keys %live), 0, 'no task is both live and finished');
my @tasks = recovery::promises('task');
my @done = recovery::promises('done');
note(@tasks . ' tasks and ' . @done . ' completions were acknowledged');
cmp_ok(scalar @tasks, '>', 2000, 'tasks were enqueued');
cmp_ok(scalar @done, '>', 100, 'tasks were completed');
is_deeply([grep { ($live{ $_->[1] } // $payload{ $_->[1] } // 'lost') ne $_->[0] } @tasks], [], 'no acknowledged enqueue is lost');
is_deeply([grep { ($lease{ $_->[0] } // 'lost') ne $_->[1] } @done], [], 'no acknowledged completion is lost');
my %told;
is(scalar(grep { $told{ $_->[0] }++ } @done), 0, 'no task was acknowledged twice');
done_testing();

sub promised {
    my @promises = recovery::promises($_[0]);
    return scalar @promises;
}
