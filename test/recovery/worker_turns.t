#!/usr/bin/perl
# More databases than background workers: whoever has the place leaves it after a round when another database waits, though there is
# always more to do in its own. A worker that is busy at the very moment when the launcher looks does not keep the place.
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use recovery;
use List::Util qw(min);
use Test::More;

recovery::under_cluster('--preload', map { ('--conf', $_) } 'cloaca.background_worker = on', 'cloaca.maintenance_interval = 1h',
    'cloaca.max_workers = 1');
recovery::build();
my $url = recovery::postgres_url();
my @names = qw(anna bert);
my %url = map { my $name = $_; $name => $url =~ s{///\w+}{///$name}r } @names;

for my $name (@names) {
    recovery::must($url, "create database $name");
    recovery::must($url{$name}, 'create extension cloaca');
    recovery::must($url{$name}, "select cloaca.create_schedule('tick', cron => '* * * * * *', task => 'tick', catch_up => 'run_all')");
}

# How many rounds fired something in a database after a time.
sub rounds {
    my ($name, $after) = @_;
    return recovery::must($url{$name}, "select count(distinct fired_at) from cloaca_default.cloaca_firing where fired_at > '$after'");
}

sub has_rounds {
    my ($name, $after) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(recovery::comes(sub { rounds($name, $after) > 0 }), "$name has its turn");
}

has_rounds($_, '-infinity') for @names;

# The worker of the first is held up until both databases are due, so that it has something to do when the launcher looks.
my @rounds;
for (1 .. 3) {
    my $idle = "select pid from pg_stat_activity where backend_type = 'cloaca worker' and datname = 'anna' and state = 'idle'";
    my $pid;
    recovery::comes(sub { $pid = recovery::must($url, $idle) }) or die "no worker comes\n";
    my $at = recovery::must($url, 'select clock_timestamp()');
    kill 'STOP', $pid;
    recovery::wait_ms(2000);
    kill 'CONT', $pid;
    has_rounds('bert', $at);
    push @rounds, rounds('anna', $at);
}
cmp_ok(min(@rounds), '<=', 3, "anna did not go round again and again before (@rounds)");

done_testing();
