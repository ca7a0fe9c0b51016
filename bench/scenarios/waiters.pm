# Workers that sleep in wait_for_task: what BENCH_WAITERS=200 of them cost those who enqueue into another queue, and the server; and
# how fast one wakes up, over BENCH_WAKES=500 rounds (bench/wake.c).
package Bench::Scenario::waiters;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;
use Bench::Server;

my $waiters = $ENV{BENCH_WAITERS} || 200;
my $wakes = $ENV{BENCH_WAKES} || 500;
my $asleep = "from pg_stat_activity where query like 'call cloaca.wait_for_task%' and state = 'active'";

sub scenario {
    heading('waiters', 'tasks/s, and ms');
    my $peer = Bench::Peer->get('cloaca');
    return notice('waiters: there is no wait_for_task') unless has_function($peer->{database}, 'wait_for_task');
    wake($peer);
    enqueue($peer);
}

sub wake {
    my ($peer) = @_;
    $peer->refill(0);
    local $ENV{PGDATABASE} = $peer->{database};
    my %took = capture("$ENV{BENCH_BUILD}/wake", $wakes) =~ /^(\w+) ([\d.]+)$/mg;
    figure('waiters', 'wake-up', "$_ ms", 'cloaca', $took{$_}) for sort keys %took;
    for my $until (qw(wait claim)) {
        my $what = $until eq 'wait' ? 'the wait returned' : 'the task is claimed';
        at_most('waiters', "until $what, p50", 2, 'ms', $took{"${until}_p50"});
        at_most('waiters', "until $what, p99", 20, 'ms', $took{"${until}_p99"});
    }
}

sub enqueue {
    my ($peer) = @_;
    my (%rates, @idle);
    for my $round (1 .. $rounds) {
        push @{ $rates{0} }, throughput($peer, 'enqueue', 16, 1)->{rate};
        my $started = sleepers($peer);
        push @idle, processor_share();
        push @{ $rates{$waiters} }, throughput($peer, 'enqueue', 16, 1)->{rate};
        stop($started);
    }
    my %rate = map { $_ => median(@{ $rates{$_} }) } keys %rates;
    my $idle = median(@idle);
    figure('waiters', "$_ waiters", 'tasks/s', 'cloaca', $rate{$_}) for 0, $waiters;
    row('waiters', "enqueue, 16 clients, $waiters waiters", 'no waiters', $rate{0}, $rate{$waiters}, sign => '>=', goal => 0.95);
    figure('waiters', "$waiters waiters", 'CPU us a second', 'cloaca', $idle);
    at_most('waiters', "$waiters idle waiters, of a processor", 1, '%', $idle / 10_000);
}

# The waiters, all of them asleep.
sub sleepers {
    my ($peer) = @_;
    my $script = "$ENV{BENCH_BUILD}/waiters.sql";
    write_file($script, "-- step wait\ncall cloaca.wait_for_task('{idle}', null)\n");
    # Their end is an error, which is none here.
    open my $errors, '>&', \*STDERR or die "stderr: $!\n";
    open STDERR, '>', '/dev/null' or die "/dev/null: $!\n";
    my $started = $peer->start($script, '-c', $waiters, '-t', 1);
    open STDERR, '>&', $errors or die "stderr: $!\n";
    for (1 .. 600) {
        return $started if value('postgres', "select count(*) $asleep") == $waiters;
        select undef, undef, undef, 0.1;
    }
    die "waiters: they do not go to sleep\n";
}

# Microseconds of processor time a second that the sleeping backends take.
sub processor_share {
    my $sum = sub {
        my $sum = 0;
        $sum += (split ' ', read_file("/proc/$_/schedstat"))[0] / 1000 for split /\n/, value('postgres', "select pid $asleep");
        return $sum;
    };
    sleep 1;
    my $before = $sum->();
    sleep 2;
    return ($sum->() - $before) / 2;
}

sub stop {
    my ($started) = @_;
    value('postgres', "select count(pg_terminate_backend(pid)) $asleep");
    close $started->{output};
    for (1 .. 100) {
        return if value('postgres', "select count(*) from pg_stat_activity where application_name = 'bench'") == 0;
        select undef, undef, undef, 0.1;
    }
    die "waiters: they do not end\n";
}

1;
