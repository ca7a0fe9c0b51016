# Another session holds a snapshot, so that vacuum can remove nothing, while four workers go on for BENCH_HELD_SECONDS=120 seconds: how
# the first 15 s compare with the last 15 s.
#
#   deep     the queue has more tasks than can be done           BENCH_HELD_DEEP    the peers that take part besides cloaca
#   sparse   it is nearly empty, and fed with 200 tasks a second  BENCH_HELD_SPARSE  the same for these
#
# In the sparse one a worker that finds nothing rests for 10 ms; the claims that find nothing count for the latency, too.
package Bench::Scenario::held;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;
use Bench::Server;
use IO::Handle;

my $held = $ENV{BENCH_HELD_SECONDS} || 120;
my $window = $held >= 60 ? 15 : $held / 4;
my %peers = (deep => $ENV{BENCH_HELD_DEEP} // 'plain plain-delete minimal graphile-worker pg-boss',
    sparse => $ENV{BENCH_HELD_SPARSE} // 'plain minimal');
my %run = (deep => \&deep, sparse => \&sparse);

sub scenario {
    my ($peer_names) = @_;
    my %wanted = map { $_ => 1 } @$peer_names;
    heading('held', 'tasks/s, and ms for the latency of claims');
    for my $variant (qw(deep sparse)) {
        my @peers = Bench::Peer->all(grep { $wanted{$_} } 'cloaca', split ' ', $peers{$variant});
        my %figures = map { $_->{name} => measure($_, $variant) } grep { $_->script('lifecycle', 1) } @peers;
        report($variant, \%figures, @peers);
    }
}

sub measure {
    my ($peer, $variant) = @_;
    my $figures = $run{$variant}->($peer);
    figure('held', $variant, "$_->[1]", $peer->{title}, $figures->{ $_->[0] }) for
        [first_rate => "tasks/s, first $window s"], [last_rate => "tasks/s, last $window s"],
        [first_claim_p99 => "claim p99 us, first $window s"], [last_claim_p99 => "claim p99 us, last $window s"],
        [dead => 'dead tuples at the end'];
    printf "  %-36s %.0f/s, then %.0f/s; claim p99 %.1f ms, then %.1f ms; %d dead tuples\n", "$variant: $peer->{title}",
        @$figures{qw(first_rate last_rate)}, map({ $_ / 1000 } @$figures{qw(first_claim_p99 last_claim_p99)}), $figures->{dead};
    return $figures;
}

sub report {
    my ($variant, $figures, @peers) = @_;
    my $cloaca = $figures->{cloaca};
    row('held', "$variant: rate, last $window s", "cloaca, first $window s", $cloaca->{first_rate}, $cloaca->{last_rate},
        sign => '>=', goal => 0.95);
    row('held', "$variant: claim p99, last $window s", "cloaca, first $window s", $cloaca->{first_claim_p99} / 1000,
        $cloaca->{last_claim_p99} / 1000, sign => '<=', goal => 1.5);
    for my $peer (grep { $_->{name} ne 'cloaca' && $figures->{ $_->{name} } } @peers) {
        row('held', "$variant: rate, last $window s", $peer->{title}, $figures->{ $peer->{name} }{last_rate}, $cloaca->{last_rate},
            $peer->{name} eq 'plain' && $variant eq 'deep' ? (sign => '>=', goal => 10) : ());
    }
}

# As many tasks as it would do at the speed that it has without the snapshot, and some more.
sub deep {
    my ($peer) = @_;
    my $expected = throughput($peer, 'lifecycle', 4, 1)->{rate};
    for (1 .. 4) {
        $peer->refill(int($expected * $held * 1.25) + 5000, 4, 1);
        my $figures = with_snapshot($peer, sub { workers($peer, 'deep') });
        return $figures if $peer->count > 1000;
        $expected *= 1.5;
    }
    die "$peer->{name}, held: the queue runs dry\n";
}

sub sparse {
    my ($peer) = @_;
    $peer->refill(0, 4, 1);
    return with_snapshot($peer, sub {
        my $feeder = $peer->start($peer->script('enqueue', 1), '-c', 2, '-r', 200, '-t', $held + 1, '-D', 'batch=1');
        my $figures = workers($peer, 'sparse', '-i', 10);
        Bench::Peer::finish($feeder);
        return $figures;
    });
}

sub workers {
    my ($peer, $variant, @more) = @_;
    my $series = "$ENV{BENCH_BUILD}/held.$variant.$peer->{title}";
    my $figures = $peer->drive($peer->script('lifecycle', 1), '-c', 4, '-t', $held, '-w', $window, '-s', $series, '-D', 'batch=1', @more);
    $figures->{"${_}_rate"} = $figures->{"${_}_tasks"} / $window for qw(first last);
    return $figures;
}

# Runs the code while a session of its own in that database holds a snapshot.
sub with_snapshot {
    my ($peer, $code) = @_;
    open my $holder, '|-', 'psql', '-X', '-q', '-o', '/dev/null', '-d', $peer->{database} or die "psql: $!\n";
    $holder->autoflush(1);
    print $holder "set application_name = 'holder'; begin isolation level repeatable read; select 1;\n";
    my $holds = "select count(*) from pg_stat_activity where application_name = 'holder' and backend_xmin is not null";
    for (1 .. 100) {
        last if value('postgres', $holds);
        select undef, undef, undef, 0.05;
    }
    value('postgres', $holds) or die "held: no session holds a snapshot\n";
    my $figures = $code->();
    value('postgres', $holds) or die "held: the snapshot was gone before the end\n";
    $figures->{dead} = value($peer->{database}, 'select sum(n_dead_tup) from pg_stat_all_tables');
    print $holder "rollback;\n\\q\n";
    close $holder or die "psql failed\n";
    return $figures;
}

1;
