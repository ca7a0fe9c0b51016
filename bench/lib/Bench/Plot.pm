# Plots of the figures, drawn by gnuplot as SVG into build/bench/plots.
package Bench::Plot;
use strict;
use warnings;
use Bench::Report;
use Bench::Server;

my $results = "$ENV{BENCH_BUILD}/results";
my $plots = "$ENV{BENCH_BUILD}/plots";
# The colours of the systems, the same in all plots.
my @colours = ('cloaca', '#08519c', 'cloaca, durable claims', '#6baed6', 'plain', '#d94801', 'plain, asynchronous', '#fd8d3c',
    'plain, delete', '#fdbe85', 'minimal, asynchronous', '#74c476', 'minimal', '#238b45', 'graphile', '#6a51a3', 'pg-boss', '#b5a1d6', 'PgQ', '#737373');

sub draw {
    return print "There is no gnuplot, so there are no plots.\n" unless grep { -x "$_/gnuplot" } split /:/, $ENV{PATH};
    run('rm', '-rf', $plots);
    run('mkdir', '-p', $plots);
    for my $scenario (qw(lifecycle enqueue)) {
        bars("$scenario-$_", "$scenario, batches of $_", 'tasks/s', in_batch($_, figures($scenario))) for 1, 10, 100;
    }
    my @costs = figures('wal');
    bars('wal', 'WAL of claim and complete', 'bytes a task', grep { $_->{case} =~ /^WAL bytes a task/ } @costs);
    bars('cpu', 'processor time of the server for claim and complete', 'us a task', grep { $_->{case} =~ /^CPU/ } @costs);
    for my $variant (qw(deep sparse)) {
        lines("held-$variant-rate", "a held snapshot, $variant queue", 'tasks/s', 2, $variant);
        lines("held-$variant-latency", "a held snapshot, $variant queue", 'claim p99, ms', 4, $variant);
    }
}

sub figures {
    my ($scenario) = @_;
    my $file = "$results/$scenario.figures.csv";
    return -e $file ? Bench::Report::read_csv($file) : ();
}

sub in_batch {
    my ($batch, @figures) = @_;
    return map { { %$_, case => $_->{case} =~ s/^batch \d+, //r } } grep { $_->{case} =~ /^batch $batch,/ } @figures;
}

# A group of bars for each case, in it one for each system.
sub bars {
    my ($name, $title, $unit, @figures) = @_;
    return unless @figures;
    my @systems = unique(map { $_->{system} } @figures);
    my @cases = unique(map { $_->{case} } @figures);
    my %value;
    $value{ $_->{case} }{ $_->{system} } = $_->{value} for @figures;
    my $data = join '', map { my $case = $_; join("\t", "\"$case\"", map { $value{$case}{$_} // 'NaN' } @systems) . "\n" } @cases;
    my @plots = map { sprintf "\$data using %d:xtic(1) title '%s' linecolor rgb '%s'", $_ + 2, $systems[$_], colour($systems[$_]) } 0 .. $#systems;
    gnuplot($name, $title, $unit, "\$data << EOD\n${data}EOD\nset style data histograms\nset style histogram clustered gap 1\n" .
        "set style fill solid\nset yrange [0:*]\nplot " . join(', ', @plots) . "\n");
}

# A line for each system, from the seconds that bench/drive wrote.
sub lines {
    my ($name, $title, $unit, $column, $variant) = @_;
    my @plots;
    for my $system (unique(map { $_->{system} } grep { $_->{case} eq $variant } figures('held'))) {
        my $file = "$ENV{BENCH_BUILD}/held.$variant." . $system;
        push @plots, sprintf "'%s' using 1:(\$%d%s) with lines linewidth 2 linecolor rgb '%s' title '%s'", $file, $column,
            $column == 4 ? '/1000' : '', colour($system), $system if -e $file;
    }
    return unless @plots;
    gnuplot($name, $title, $unit, "set logscale y\nset xlabel 'seconds'\nplot " . join(', ', @plots) . "\n");
}

sub gnuplot {
    my ($name, $title, $unit, $script) = @_;
    my $file = "$plots/$name.gnuplot";
    write_file($file, "set terminal svg size 960,400 font 'sans-serif,12' background rgb 'white'\nset output '$plots/$name.svg'\n" .
        "set title '$title' noenhanced\nset ylabel '$unit' noenhanced\nset key outside right top Left reverse noenhanced\nset grid ytics\n$script");
    capture('gnuplot', $file);
}

# The one whose name the system's begins with; the longest.
sub colour {
    my ($system) = @_;
    my %colour = @colours;
    my ($best) = sort { length $b <=> length $a } grep { index($system, $_) == 0 } keys %colour;
    return defined $best ? $colour{$best} : '#000000';
}

sub unique {
    my %seen;
    return grep { !$seen{$_}++ } @_;
}

1;
