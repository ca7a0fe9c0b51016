# Measurements that several scenarios make.
package Bench::Measure;
use strict;
use warnings;
use Bench::Peer;
use Bench::Report;
use Bench::Server;
use Exporter qw(import);
use List::Util qw(max);
our @EXPORT = qw(throughput in_turn median $seconds $rounds @clients @batches);

our $seconds = $ENV{BENCH_SECONDS} || 4;
our $rounds = $ENV{BENCH_ROUNDS} || 3;
our @clients = split ' ', $ENV{BENCH_CLIENTS} || '1 4 16';
our @batches = split ' ', $ENV{BENCH_BATCHES} || '1 10 100';

# Tasks a second that a peer did in a case, as far as is known: how many tasks it needs.
my %fastest;

# One run of a script; returns the figures, among them what the server spent of processor time and WAL. A lifecycle that runs out of
# tasks starts over with more of them. Options: arguments (of drive), and fill, code that fills the emptied queue with so many tasks in
# place of the peer's own.
sub throughput {
    my ($peer, $kind, $clients, $batch, %options) = @_;
    my $script = $peer->script($kind, $batch) or return;
    my %first = (1 => 8_000, 10 => 25_000, 100 => 60_000);
    my $expected = $fastest{ $peer->{name}, $batch } // $first{$batch} // 50_000;
    for (1 .. 8) {
        my $tasks = $kind eq 'lifecycle' ? int($expected * $seconds * 1.3) + 3000 : 0;
        $peer->refill($options{fill} ? 0 : $tasks, $clients, $batch);
        $options{fill}->($tasks) if $options{fill};
        my $before = $peer->count;
        my ($position, $cpu) = (wal_position(), server_cpu());
        my $figures = $peer->drive($script, '-c', $clients, '-t', $seconds, '-D', "batch=$batch", @{ $options{arguments} // [] });
        $figures->{cpu_us} += server_cpu() - $cpu;
        $figures->{wal_bytes} = wal_position() - $position;
        my $left = $peer->count;
        abs($left - $before) == $figures->{tasks}
            or die "$peer->{name}, $kind: $figures->{tasks} tasks by the driver's count, but $before before and $left after\n";
        if ($kind eq 'lifecycle' && ($left < 2 * $clients * $batch || $options{fill} && $figures->{empty})) {
            $expected = max($expected, $figures->{rate}) * 2;
            next;
        }
        notice("$peer->{name}, $kind, $clients clients, batch $batch: $figures->{empty} empty claims of a queue with $left tasks")
            if $kind eq 'lifecycle' && $figures->{empty};
        $fastest{ $peer->{name}, $batch } = max($fastest{ $peer->{name}, $batch } // 0, $figures->{rate}) if $kind eq 'lifecycle';
        return $figures;
    }
    die "$peer->{name}, $kind, $clients clients, batch $batch @{ $options{arguments} // [] }: the queue runs dry\n";
}

# Lets the peers take turns, $rounds times; returns the median of what the code returns for each, without those for which it returns
# nothing.
sub in_turn {
    my ($peers, $measure) = @_;
    my %values;
    for my $round (1 .. $rounds) {
        for my $peer ($round % 2 ? @$peers : reverse @$peers) {
            my $value = $measure->($peer);
            push @{ $values{ $peer->{name} } }, $value if defined $value;
        }
    }
    return { map { $_ => median(@{ $values{$_} }) } keys %values };
}

# One slow round, when the machine had something else to do, leaves no trace in it.
sub median {
    my @sorted = sort { $a <=> $b } @_;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

1;
