# What came out: the table of ratios, the same as CSV, and every single figure for the plots.
package Bench::Report;
use strict;
use warnings;
use Bench::Server;
use Exporter qw(import);
use File::Temp;
use IO::Handle;
use Time::HiRes qw(time);
our @EXPORT = qw(row at_most figure notice heading);

our (@rows, @figures, @notices);
my @columns = qw(scenario case against base cloaca ratio durable goal met);
my @figure_columns = qw(scenario case measure system value);
my $machine;

# A line of the table: scenario, case, what it is measured against, the figure of that, that of cloaca, and where there is a goal for
# their ratio, its sign and value; and the figure of cloaca with durable claims, where that differs.
sub row {
    my ($scenario, $case, $against, $base, $cloaca, %more) = @_;
    my $ratio = $base ? $cloaca / $base : 0;
    my $met = !$more{sign} ? '' : ($more{sign} eq '<=' ? $ratio <= $more{goal} : $ratio >= $more{goal}) ? 'met' : 'MISSED';
    my $durable = $more{durable} && $base ? sprintf '%.2f', $more{durable} / $base : '';
    add({ scenario => $scenario, case => $case, against => $against, base => $base, cloaca => $cloaca, durable => $durable,
        ratio => $base ? sprintf('%.2f', $ratio) : '', goal => $more{sign} ? "$more{sign} $more{goal}" : '', met => $met });
}

# A line whose goal is no ratio: cloaca's figure is at most so much.
sub at_most {
    my ($scenario, $case, $limit, $unit, $cloaca) = @_;
    add({ scenario => $scenario, case => $case, against => "the goal, $unit", base => $limit, cloaca => $cloaca, durable => '',
        ratio => $limit ? sprintf('%.2f', $cloaca / $limit) : '', goal => "<= $limit $unit", met => $cloaca <= $limit ? 'met' : 'MISSED' });
}

sub add {
    my ($row) = @_;
    push @rows, $row;
    printf "  %-36s %-44s %11s %11s %7s %8s  %-9s %s\n", $row->{case}, $row->{against}, short($row->{base}), short($row->{cloaca}),
        @$row{qw(ratio durable goal met)};
}

# Any figure, for the plots: one number of one system in a case.
sub figure {
    my ($scenario, $case, $measure, $system, $value) = @_;
    push @figures, [$scenario, $case, $measure, $system, $value];
}

# Said among the rows, and again at the end.
sub notice {
    my ($text) = @_;
    push @notices, $text;
    print "  note: $text\n";
}

sub heading {
    my ($scenario, $unit) = @_;
    printf "\n%s (%s)\n  %-36s %-44s %11s %11s %7s %8s  %s\n", $scenario, $unit, qw(case against base cloaca ratio durable goal);
}

sub short {
    my ($value) = @_;
    return sprintf $value >= 100 || $value == 0 ? '%.0f' : $value >= 1 ? '%.1f' : '%.3f', $value;
}

# A scenario is through: its rows and figures go to files of their own. Those of earlier runs stay until the scenario runs again, so
# that a long bench can be run in parts.
sub save {
    my ($scenario) = @_;
    my $folder = "$ENV{BENCH_BUILD}/results";
    run('mkdir', '-p', $folder);
    write_file("$folder/$scenario.csv", csv(\@columns, map { [@$_{@columns}] } grep { $_->{scenario} eq $scenario } @rows));
    write_file("$folder/$scenario.figures.csv", csv(\@figure_columns, grep { $_->[0] eq $scenario } @figures));
    write_file("$folder/$scenario.about", about($scenario));
}

# The whole run.
sub finish {
    write_file("$ENV{BENCH_BUILD}/results.csv", csv(\@columns, map { [@$_{@columns}] } @rows));
    write_file("$ENV{BENCH_BUILD}/figures.csv", csv(\@figure_columns, @figures));
    my @goals = grep { $_->{goal} } @rows;
    my @missed = grep { $_->{met} eq 'MISSED' } @goals;
    print "\n";
    printf "MISSED: %s, %s, against %s: %s instead of %s\n", @$_{qw(scenario case against)}, $_->{ratio} || short($_->{cloaca}), $_->{goal}
        for @missed;
    print "note: $_\n" for @notices;
    printf "%d of %d goals met. build/bench/results.csv has the table, build/bench/figures.csv every figure.\n", @goals - @missed,
        scalar @goals;
}

sub csv {
    return join '', map { join(',', map { /[",]/ ? '"' . s/"/""/gr . '"' : $_ } @$_) . "\n" } @_;
}

# Lines of such a file, as hashes.
sub read_csv {
    my ($file) = @_;
    my ($heading, @lines) = split /\n/, read_file($file);
    my @names = split /,/, $heading;
    return map {
        my $line = "$_,";
        my (@fields, %row);
        push @fields, defined $1 ? $1 =~ s/""/"/gr : $2 while $line =~ /\G(?:"((?:[^"]|"")*)"|([^,]*)),/g;
        @row{@names} = @fields;
        \%row;
    } @lines;
}

# Where, when and how, as lines of name and value.
sub about {
    my ($scenario) = @_;
    $machine //= machine();
    my @now = localtime;
    my %settings = (%ENV, BENCH_SCENARIOS => $scenario);
    delete @settings{qw(BENCH_BUILD BENCH_PUBLISH)};
    return $machine . sprintf("date\t%d-%02d-%02d\n", $now[5] + 1900, $now[4] + 1, $now[3]) . "command\t" .
        join(' ', map({ $settings{$_} =~ /\W/ ? "$_='$settings{$_}'" : "$_=$settings{$_}" } grep { /^BENCH_/ } sort keys %settings), "make bench\n");
}

sub machine {
    my $processors = read_file('/proc/cpuinfo');
    my ($model) = $processors =~ /^model name\s*:\s*(.*)$/m;
    my ($memory) = read_file('/proc/meminfo') =~ /^MemTotal:\s*(\d+)/m;
    my $count = () = $processors =~ /^processor\s*:/mg;
    return join '', map { "$_->[0]\t$_->[1]\n" } [processor => $model // 'unknown'], [cores => $count],
        [memory => sprintf '%.0f GB', $memory / 1048576], [disk => sprintf '%d fsync a second, of 8 kB', fsync_rate()],
        [kernel => capture('uname', '-sr') =~ s/\s+$//r], [server => 'PostgreSQL ' . value('postgres', 'show server_version')];
}

# How often a second this disk makes 8 kB durable.
sub fsync_rate {
    my ($file) = File::Temp->new(TEMPLATE => 'cloaca-fsync-XXXXXX', DIR => '/tmp');
    my $begun = time;
    my $count = 0;
    while (time < $begun + 1) {
        seek $file, 0, 0;
        syswrite $file, 'x' x 8192;
        $file->sync or die "fsync: $!\n";
        $count++;
    }
    return $count / (time - $begun);
}

1;
