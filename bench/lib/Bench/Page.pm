# docs/benchmarks.md, from bench/benchmarks.md.in and the last results of every scenario.
package Bench::Page;
use strict;
use warnings;
use Bench::Plot;
use Bench::Report;
use Bench::Server;

my $results = "$ENV{BENCH_BUILD}/results";

my %table = (machine => \&machine, goals => \&goals, versions => \&versions, rows => \&rows, cases => \&cases, measures => \&measures);

sub write_docs {
    my $page = read_file('bench/benchmarks.md.in');
    # Each line "@what scenario, ...@" is replaced by what that makes of the scenario's results.
    $page =~ s/^\@(\w+)(?: (.*))?\@$/$table{$1}->(split m{, *}, $2 \/\/ '')/gme;
    run('rm', '-rf', 'docs/plots');
    run('mkdir', '-p', 'docs/plots');
    for my $plot (glob "$ENV{BENCH_BUILD}/plots/*.svg") {
        run('cp', $plot, 'docs/plots/');
    }
    $page =~ s/^!\[.*\]\((plots\/\S+)\)\n/-e "docs\/$1" ? $& : ''/gme;
    write_file('docs/benchmarks.md', $page =~ s/\n{3,}/\n\n/gr);
    print "docs/benchmarks.md and docs/plots are written.\n";
}

sub scenarios {
    return grep { -e "$results/$_.csv" } qw(lifecycle enqueue wal held queues waiters backlog workflow sqlite);
}

sub machine {
    my (%same, @when);
    for my $scenario (scenarios()) {
        my %about = map { split /\t/, $_, 2 } split /\n/, read_file("$results/$scenario.about");
        push @when, "| $scenario | $about{date} | $about{disk} | `$about{command}` |";
        $same{ join "\n", map { "- $_: $about{$_}" } qw(processor cores memory kernel server) } = 1;
    }
    return join("\n\n", sort keys %same) . "\n\n| scenario | date | the disk then | command |\n|---|---|---|---|\n" . join "\n", @when;
}

sub versions {
    my @lines = ();
    for my $file (glob 'bench/peers/*/peer') {
        push @lines, "- $1" =~ s/\@/ /r if read_file($file) =~ /^npm\s*=\s*(\S+)/m;
    }
    my $pgq = capture('dpkg-query', '-W', '-f', '${Version}', 'postgresql-15-pgq3');
    return join "\n", @lines, "- PgQ $pgq";
}

sub goals {
    my @rows = grep { $_->{goal} } map { Bench::Report::read_csv("$results/$_.csv") } scenarios();
    my @lines = map { my $row = $_; '| ' . join(' | ', @$row{qw(scenario case against)}, number($row->{base}), number($row->{cloaca}),
        @$row{qw(ratio goal)}, $row->{met} eq 'met' ? 'yes' : '**no**') . ' |' } @rows;
    return join "\n", '| scenario | case | against | that | cloaca | ratio | goal | met |', '|---|---|---|--:|--:|--:|---|---|', @lines;
}

# All rows of a scenario.
sub rows {
    my ($scenario) = @_;
    my @rows = -e "$results/$scenario.csv" ? Bench::Report::read_csv("$results/$scenario.csv") : ();
    return 'Not measured.' unless @rows;
    my @lines = map { my $row = $_; '| ' . join(' | ', @$row{qw(case against)}, number($row->{base}), number($row->{cloaca}), $row->{ratio}) . ' |' } @rows;
    return join "\n", '| case | against | that | cloaca | ratio |', '|---|---|--:|--:|--:|', @lines;
}

# A line for each system, a column for each case; of those cases that begin with these words.
sub cases {
    my ($scenario, $begin) = @_;
    my @figures = grep { $_->{case} =~ /^\Q$begin\E\b/ } Bench::Plot::figures($scenario);
    return table('case', $begin, @figures);
}

# The same with a column for each measure, of one case.
sub measures {
    my ($scenario, $case) = @_;
    return table('measure', '', grep { $_->{case} eq $case } Bench::Plot::figures($scenario));
}

sub table {
    my ($column, $begin, @figures) = @_;
    return "\nNot measured." unless @figures;
    my @columns = Bench::Plot::unique(map { $_->{$column} } @figures);
    my %value;
    $value{ $_->{system} }{ $_->{$column} } = number($_->{value}) for @figures;
    my @lines = map { my $system = $_; '| ' . join(' | ', $system, map { $value{$system}{$_} // '–' } @columns) . ' |' }
        Bench::Plot::unique(map { $_->{system} } @figures);
    my @heads = map { s/^\Q$begin\E,? *//r || $_ } @columns;
    return join "\n", '', '| | ' . join(' | ', @heads) . ' |', '|---|' . '--:|' x @columns, @lines;
}

sub number {
    my ($value) = @_;
    my $text = sprintf $value >= 100 || $value == 0 ? '%.0f' : $value >= 1 ? '%.1f' : '%.3f', $value;
    1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
    return $text;
}

1;
