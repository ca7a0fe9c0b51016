#!/usr/bin/perl
# The examples of the documentation run: of each page, the sql blocks as one psql session in a database of its own, the sh blocks as
# one script in an empty folder. Links between pages lead somewhere. Runs against the server of PGHOST.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use Test::More;
use lib 'sql';
use parts;

my $top = getcwd();
my @pages = ('README.md', 'CONTRIBUTING.md', glob 'docs/*.md');
$ENV{PATH} = "$top/build:$ENV{PATH}";
$ENV{LD_LIBRARY_PATH} = "$top/build";

for my $page (@pages) {
    my $text = parts::read_file($page);
    links($page, $text);
    runs("$page: sql", $text, 'sql', sub {
        my $database = 'docs_' . $page =~ s/\W/_/gr =~ tr/A-Z/a-z/r;
        return "createdb $database && psql -XqAt -v ON_ERROR_STOP=1 -d $database -f";
    });
    runs("$page: sh", $text, 'sh', sub { 'sh -eu' });
}
done_testing();

sub links {
    my ($page, $text) = @_;
    my ($folder) = $page =~ m{\A(.*/)};
    my @dead = grep { !-e(($folder // '') . s/#.*//r) } grep { !/^(https?:|#)/ } $text =~ /\]\(([^)\s]+)\)/g;
    is_deeply(\@dead, [], "$page: links");
}

# Runs all blocks of one language together, in a folder of their own.
sub runs {
    my ($name, $text, $language, $command) = @_;
    my $script = join "\n", $text =~ /^```$language\n(.*?)^```/msg;
    return unless length $script;
    my $folder = tempdir(CLEANUP => 1);
    parts::write_file("$folder/script", $script);
    my $said = qx(cd $folder && (@{[ $command->() ]} $folder/script) 2>&1 </dev/null);
    ok($? == 0, $name) or diag($said);
}
