#!/usr/bin/perl
# Large executions, on PostgreSQL and on SQLite: 10,000 tasks in one, of which 9,998 run side by side (a thousand where the server goes by
# SQL alone), a thousand that one waits for, and a chain of a thousand. And what it costs to complete one of those that one task waits for:
# it is counted, and must be the same for ten and for a thousand.
#
#   WORKFLOW_TASKS=10000   tasks of the largest execution
use strict;
use warnings;
use FindBin qw($Bin);
use lib $Bin;
use dialogue;
use recovery;
use flows;
use Test::More;
use Time::HiRes qw(time);

recovery::under_cluster('--conf', 'autovacuum = off');
recovery::build();
recovery::make('programs');
my $most = $ENV{WORKFLOW_TASKS} || 10_000;
my $thousand = $most / 10;

my $url = recovery::postgres_url();
my $file = "sqlite:///$recovery::folder/sizes.db";

flows::set_up($_) for $url, $file;
for (['direct', $url, $most], ['SQL', "$url&options=-c%20cloaca.direct%3Doff", $thousand], ['SQLite', $file, $most]) {
    my ($name, $where, $tasks) = @$_;
    # Beside those there are a first and a last one.
    completes($where, "$name: a fan", $tasks, flows::wide_tasks($tasks - 2));
    completes($where, "$name: a fan-in", $thousand + 1, gathered_tasks($thousand));
    completes($where, "$name: a chain", $thousand, flows::chain_tasks($thousand));
    is(flows::contradictions($where), '', "$name: tables agree with each other");
}

SKIP: {
    skip 'the server does not write its counters down when told to', 2 if recovery::must($url, 'show server_version_num') < 150000;
    for my $setting ('on', 'off') {
        my ($small, $large) = map { costs($setting, $_) } 10, $thousand;
        is_deeply($large, $small, "cloaca.direct = $setting: completing one of $thousand that one task waits for reads and writes what it does of ten");
        note(flows::encode($small));
    }
}
done_testing();

sub gathered_tasks {
    my ($width) = @_;
    return ((map { ["w$_", []] } 1 .. $width), ['last', [map { "w$_" } 1 .. $width]]);
}

# One execution of these tasks, by workers that only complete.
sub completes {
    my ($url, $what, $count, @tasks) = @_;
    my $workflow = $what =~ s/\W+/-/gr;
    my $begun = time;
    flows::define($url, $workflow, 3, @tasks);
    my $defined = time;
    flows::start($url, $workflow, 1);
    my $started = time;
    recovery::start("$workflow$_", 'flow', $url, "worker$_", 50, 600_000, 0) for 1 .. 3;
    is_deeply([flows::until_done($url)], [], "$what: no worker fails");
    my $ended = time;
    is(recovery::stop_all(), 0, "$what: the workers stop when they are told to");
    note(sprintf '%s of %d tasks: defined in %.2f s, started in %.2f s, done in %.2f s', $what, $count, $defined - $begun,
        $started - $defined, $ended - $started);
    my ($execution, $node) = map { recovery::table($url, $_) } qw(execution execution_task);
    is(recovery::must($url, "select e.state, count(*), count(distinct f.task) from $execution e join $node n on n.execution = e.id and n.state = 'completed'
        join effect f on f.task = n.task where e.name = '$workflow' group by e.state"), "completed|$count|$count", "$what of $count tasks completes, each once");
}

# What completing one of so many tasks that one waits for reads and writes: the server's counters.
sub costs {
    my ($setting, $width) = @_;
    my $session = dialogue->new($url, 'cloaca.direct' => $setting);
    my $name = "counted${setting}_$width";
    flows::define($url, $name, 3, gathered_tasks($width));
    flows::start($url, $name, 1);
    my $claim = sub { map { s/\|/, /r } split /\n/, $session->ask("select task, lease_id from cloaca.claim(max => $_[0], lease => '1 hour')") };
    my @leases = $claim->($width - 1);
    # The first ones have plans made; of the last claim the session surely knows where the task is, not so of the one before.
    $session->ask("select cloaca.complete($_)") for @leases[0 .. 5];
    my ($lease) = $claim->(1);
    # Who leaves adds what he counted at last.
    recovery::comes(sub { $session->ask("select count(*) from pg_stat_activity where backend_type = 'client backend'") == 1 }) or die "others stay\n";
    my $before = counters($session);
    $session->ask("select cloaca.complete($lease)");
    my $after = counters($session);
    my %cost = map { $after->{$_} == $before->{$_} ? () : ($_ => $after->{$_} - $before->{$_}) } keys %$after;
    is($cost{'cloaca_execution_task n_tup_upd'}, 2, "$width by $setting: it and the one that waits are changed");
    $session->close;
    return \%cost;
}

# Of each table of the tenant: "table counter" => how often.
sub counters {
    my ($session) = @_;
    my @names = qw(seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd n_tup_del);
    $session->ask('select pg_stat_force_next_flush()');
    my %counters;
    for (split /\n/, $session->ask("select relname, @{[join ', ', @names]} from pg_stat_user_tables where schemaname = 'cloaca_default'")) {
        my ($table, @values) = split /\|/;
        @counters{ map { "$table $_" } @names } = map { $_ || 0 } @values;
    }
    return \%counters;
}
