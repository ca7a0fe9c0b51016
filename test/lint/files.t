#!/usr/bin/perl
# The SQL files agree with the manifest, with each other, with cloaca.h and with the reference, and keep the rules of the house.
use strict;
use warnings;
use Test::More;
use lib 'sql';
use parts;

my @functions = parts::manifest();
my %condition = map { $_->{name} => 1 } parts::conditions();
my %table = map { $_ => 1 } map { parts::read_file($_) =~ /^create table (\w+)/mg } glob 'sql/*/tables.postgres.sql';

file_sets();
function_file($_) for @functions;
enumerators();
tables($_) for glob 'sql/*/tables.*.sql';
reference();
done_testing();

# Exactly the files that the manifest calls for; a function may have a script form besides.
sub file_sets {
    my %seen;
    my @twice = grep { $seen{"$_->{name}"}++ } @functions;
    fine('every function is in the manifest once', map { $_->{name} } @twice);

    my %expected = map { $_ => 1 } 'sql/tenant/registry.postgres.sql', glob 'sql/*/tables.*.sql';
    for my $function (@functions) {
        my $path = "sql/$function->{noun}/$function->{name}";
        my $script_only = $function->{dialects} eq 'helper' && -e "$path.script.sql" && !-e "$path.postgres.sql";
        $expected{"$path.postgres.sql"} = 1 unless $script_only;
        $expected{"$path.sqlite.sql"} = 1 if $function->{dialects} eq 'both';
        $expected{"$path.script.sql"} = 1 if -e "$path.script.sql";
    }
    # What SQLite files include is named there alone.
    for my $text (map { parts::read_file($_) } glob 'sql/*/*.sqlite.sql') {
        $expected{"sql/$_.sqlite.sql"} = 1 for $text =~ m{^-- \@include (\w+/\w+)}mg;
    }
    my %found = map { $_ => 1 } grep { !m{^sql/upgrade/} } glob 'sql/*/*.sql';
    fine('no file of the manifest is missing', grep { !$found{$_} } sort keys %expected);
    fine('no file is unknown to the manifest', grep { !$expected{$_} } sort keys %found);
}

# The first line of every dialect is the same, and the PostgreSQL one tells the rest of the story.
sub function_file {
    my ($function) = @_;
    my ($name, $noun, $dialects) = @$function{qw(name noun dialects)};
    my %file = ((map { $_ => "sql/$noun/$name.$_.sql" } qw(postgres sqlite script)), twin => "sql/$noun/${name}_sql.postgres.sql");
    my %text = map { $_ => -e $file{$_} ? parts::read_file($file{$_}) : '' } keys %file;
    my $first = (split /\n/, $text{postgres}, 2)[0] // '';
    my @problems;

    if ($dialects eq 'helper') {
        for my $dialect (grep { length $text{$_} } qw(postgres script)) {
            push @problems, "the $dialect file does not begin with its name" unless $text{$dialect} =~ /\A-- \@helper $name\n/;
            push @problems, "the $dialect file says nothing about itself" unless $text{$dialect} =~ /\A.*\n--\n-- \w/;
        }
    } else {
        my $signature = parts::signature($text{postgres});
        push @problems, 'no signature of that name in the first line' unless $signature && $signature->{name} eq $name;
        for my $other (grep { length $text{$_} } qw(sqlite script)) {
            push @problems, "$other has another signature" unless $first eq ((split /\n/, $text{$other}, 2)[0] // '');
        }
        push @problems, header_problems($signature, parts::header($text{postgres})) if $signature;
    }
    for my $dialect (grep { length $text{$_} } qw(postgres script)) {
        my $creations = () = $text{$dialect} =~ /^create (?:or replace )?(?:function|procedure) /mg;
        my $is_void = $dialect eq 'script' && $dialects eq 'helper' && $text{script} !~ /^(?!--|$)/m;
        push @problems, "the $dialect file creates $creations functions" unless $creations == 1 || $is_void;
    }
    push @problems, "is declared otherwise than ${name}_sql"
        if length $text{twin} && declaration($text{postgres}) ne declaration($text{twin}) =~ s/_sql\(/(/r;
    fine("$noun/$name", @problems);
}

# From create to the language: the arguments with their defaults, and the result.
sub declaration {
    my ($text) = @_;
    return $text =~ /^create function (.*?)language /ms ? $1 =~ s/\s+/ /gr : '';
}

sub header_problems {
    my ($signature, $header) = @_;
    my @problems;
    push @problems, 'the header says nothing of what it does' unless length $header->{description};
    my @paragraphs = $signature->{result} =~ /^(void|procedure)$/ ? qw(Errors Writes) : qw(Returns Errors Writes);
    push @problems, "the header has no $_" for grep { !length $header->{$_} } @paragraphs;
    my $documented = join ' ', map { $_->{name} } @{ $header->{arguments} };
    my $declared = join ' ', map { $_->{name} } @{ $signature->{arguments} };
    push @problems, "the header documents ($documented), the arguments are ($declared)" unless $documented eq $declared;
    push @problems, map { "unknown condition $_" } grep { !$condition{$_} && $_ ne 'none' } ($header->{Errors} =~ s/\([^)]*\)//gr) =~ /(?:^|, |; )(\w+)/g;
    push @problems, map { "unknown table $_" } grep { !$table{$_} } $header->{Writes} =~ /\b(cloaca_\w+)/g;
    return @problems;
}

# cloaca.h: an enumerator for each condition, in the same order.
sub enumerators {
    my ($enum) = parts::read_file('src/client/cloaca.h') =~ /typedef enum cloaca_status \{(.*?)\}/s;
    my @found = ($enum // '') =~ /^\s*CLOACA_(\w+)/mg;
    is_deeply(\@found, ['OK', map { uc $_->{name} } parts::conditions()], 'cloaca.h has the conditions in their order');
}

# Tables that can be placed whole on another node: bigint identities, a primary key, nothing that fires or hides. DESIGN 1.9.
sub tables {
    my ($file) = @_;
    my $text = parts::read_file($file) =~ s/--.*//gr;
    my @problems = map { "has $_" } $text =~ /\b(create\s+(?:constraint\s+)?trigger|unlogged|inherits|serial|bigserial|uuid|temporary|references)\b/ig;
    for my $statement (grep { /\S/ } split /;\s*$/m, $text) {
        my $what = (split /\n/, $statement =~ s/^\s+//r, 2)[0];
        push @problems, "$what: no primary key" if $statement =~ /create table/ && $statement !~ /primary key/;
        if ($file =~ /sqlite/) {
            push @problems, "$what: not strict" if $statement =~ /create table/ && $statement !~ /\)\s*strict(,\s*without rowid)?\s*$/;
            push @problems, "$what: not harmless when repeated" unless $statement =~ /if not exists|insert or ignore/;
        } else {
            push @problems, "$what: schema-qualified" if $statement =~ /\b(?:table|on)\s+\w+\.\w+/;
            push @problems, "$what: id is not a bigint identity"
                if $statement =~ /^\s+id\s+(.*)/m && $1 !~ /^bigint\s+(not null\s+)?generated (by default|always) as identity/;
        }
    }
    fine($file, @problems);
}

sub reference {
    my $made = `$^X docs/reference.pl -`;
    ok($made eq `cat docs/reference.md`, 'docs/reference.md is what docs/reference.pl makes (make docs)');
}

# A test that passes when there is no problem, and names those that there are.
sub fine {
    my ($name, @problems) = @_;
    ok(!@problems, $name) or diag(map { "    $_\n" } @problems);
}
