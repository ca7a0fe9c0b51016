# What a task costs besides time: WAL and processor time of claim and complete, WAL of polling an empty queue, and the growth of
# tables and indexes while many tasks pass.
package Bench::Scenario::wal;
use strict;
use warnings;
use Bench::Measure;
use Bench::Peer;
use Bench::Report;
use Bench::Server;
use List::Util qw(min);

sub scenario {
    my ($peer_names) = @_;
    my @peers = Bench::Peer->all(@$peer_names);
    # Without full-page images and without vacuum, what is written is what the tasks cause.
    heading("wal", "each unit is in its case");
    configure(full_page_writes => 'off', autovacuum => 'off');
    cost(\@peers);
    polling(\@peers);
    growth(\@peers);
    configure(full_page_writes => 'on', autovacuum => 'on');
}

sub configure {
    my %settings = @_;
    statements('postgres', (map { "alter system set $_ = $settings{$_}" } sort keys %settings), 'select pg_reload_conf()');
    statements('postgres', 'checkpoint');
}

# Single tasks.
sub cost {
    my ($peers) = @_;
    for my $clients (1, 4) {
        my %wal;
        my $of = $clients == 1 ? '1 client' : "$clients clients";
        my $cpu = in_turn($peers, sub {
            my ($peer) = @_;
            my $figures = throughput($peer, 'lifecycle', $clients, 1) or return;
            push @{ $wal{ $peer->{name} } }, $figures->{wal_bytes} / $figures->{tasks};
            return $figures->{cpu_us} / $figures->{tasks};
        });
        my $wal = { map { $_ => median(@{ $wal{$_} }) } keys %wal };
        compare($peers, "WAL bytes a task, $of", $wal);
        compare($peers, "CPU us a task, $of", $cpu, plain => 0.55);
        at_most('wal', "WAL bytes a task, $of", 260, 'bytes', $wal->{cloaca});
    }
}

sub compare {
    my ($peers, $case, $values, %goals) = @_;
    for my $peer (grep { defined $values->{ $_->{name} } } @$peers) {
        my $name = $peer->{name};
        figure('wal', $case, 'value', $peer->{title}, $values->{$name});
        row('wal', $case, $peer->{title}, $values->{$name}, $values->{cloaca}, durable => $values->{'cloaca-durable'},
            $goals{$name} ? (sign => '<=', goal => $goals{$name}) : ()) unless $name eq 'cloaca';
    }
}

# The least of three, since the server itself writes a little now and then.
sub polling {
    my ($peers) = @_;
    my %bytes;
    my $polls = 2000;
    for my $peer (@$peers) {
        my $script = $peer->script('lifecycle', 1) or next;
        $peer->refill(0);
        $bytes{ $peer->{name} } = min(map {
            my $position = wal_position();
            my $figures = $peer->drive($script, '-n', $polls, '-D', 'batch=1');
            $figures->{empty} == $polls or die "$peer->{name}: the queue is not empty\n";
            (wal_position() - $position) / $polls;
        } 1 .. 3);
    }
    compare($peers, 'WAL bytes an empty poll', \%bytes);
    at_most('wal', 'WAL bytes an empty poll', 0, 'bytes', $bytes{cloaca});
}

# A queue of 1,000 tasks, through which many more pass: each cycle puts one in, claims one and completes it. There is a vacuum after each
# quarter of them and no other, so that chance plays no part.
sub growth {
    my ($peers) = @_;
    my $passing = $ENV{BENCH_GROWTH} || 40_000;
    my %kib;
    for my $peer (@$peers) {
        my ($enqueue, $lifecycle) = map { $peer->script($_, 1) } qw(enqueue lifecycle);
        $enqueue && $lifecycle or next;
        my $script = "$ENV{BENCH_BUILD}/growth.sql";
        write_file($script, read_file($enqueue) . read_file($lifecycle));
        $peer->refill(1000);
        sizes($peer, 'of 1000 tasks', \%kib);
        for (1 .. 4) {
            $peer->drive($script, '-c', 4, '-n', $passing / 4, '-D', 'batch=1');
            statements($peer->{database}, 'vacuum');
        }
        sizes($peer, "after $passing more", \%kib);
    }
    compare($peers, $_, $kib{$_}) for reverse sort keys %kib;
}

sub sizes {
    my ($peer, $when, $kib) = @_;
    my %kinds = (tables => "'r', 't', 'p'", indexes => "'i'");
    for my $what (keys %kinds) {
        $kib->{"KiB, $what $when"}{ $peer->{name} } = value($peer->{database}, "select sum(pg_relation_size(oid)) / 1024 from pg_class
            where relkind in ($kinds{$what}) and relnamespace not in (select oid from pg_namespace
                where nspname in ('pg_catalog', 'information_schema', 'pg_toast'))");
    }
}

1;
