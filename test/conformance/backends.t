#!/usr/bin/perl
# Every scenario on every backend, in a database of its own, against its one expected output, byte for byte. Backends: the extension and
# the script without library on the server of PGHOST, a SQLite file, and SQLite in memory.
#
#   backends.t [scenario...]     only these; what a backend said is left in build/conformance (and there in a folder for the mode)
use strict;
use warnings;
use File::Basename qw(basename);
use Test::More;

my $runner = 'build/test/conformance';
my $said = join '/', 'build/conformance', $ENV{CLOACA_MODE} // ();
my @scenarios = @ARGV ? @ARGV : sort glob 'test/conformance/*.scenario';
my %backend = (
    extension => sub { postgres('extension', $_[0], '-c', 'create extension cloaca') },
    script    => sub { postgres('script', $_[0], '-f', 'build/cloaca-sql-only.sql') },
    file      => sub { unlink map { "$said/$_[0].db$_" } '', '-wal', '-shm'; "sqlite:///$said/$_[0].db" },
    memory    => sub { 'sqlite:///:memory:' },
);

system('mkdir', '-p', $said);
for my $scenario (@scenarios) {
    my $name = basename($scenario, '.scenario');
    my $expected = $scenario =~ s/\.scenario$/.expected/r;
    for my $backend (sort keys %backend) {
        my $url = $backend{$backend}->($name) or next;
        my $output = "$said/$name.$backend";
        my $status = system("$runner '$url' $scenario >$output 2>$output.errors");
        my $difference = `diff -u $expected $output 2>&1 | head -60`;
        ok($status == 0 && $difference eq '', "$name on $backend") or diag($difference, `cat $output.errors`);
    }
}
done_testing();

# A fresh database of the server, made from a template in which cloaca was installed once.
sub postgres {
    my ($kind, $name, @install) = @_;
    our %templates;
    my $template = "conformance_$kind";
    if (!$templates{$kind}++) {
        run('createdb', '-T', 'template0', $template);
        run('psql', '-1qX', '-v', 'ON_ERROR_STOP=1', '-d', $template, @install);
        # A template is copied when nobody is connected to it: who just left may still be on the way.
        run('psql', '-qXc', "do \$\$ begin
            while exists (select from pg_stat_activity where datname = '$template') loop perform pg_sleep(0.01), pg_stat_clear_snapshot(); end loop;
        end \$\$");
    }
    my $database = "${template}_$name";
    run('createdb', '-T', $template, $database);
    return "postgresql://$ENV{PGUSER}@/$database?host=$ENV{PGHOST}&port=$ENV{PGPORT}";
}

# What fails says why itself.
sub run {
    system(@_) == 0 or die "failed: @_\n";
}
