#!/usr/bin/perl
# Puts the parts of the SQL together: reads sql/manifest, sql/conditions and one file a function, and writes one product.
#
#   assemble.pl extension [--only noun,...] FILE    the install script of the extension
#   assemble.pl script    [--only noun,...] FILE    the same functions as one script for a server that cannot load the library
#   assemble.pl conditions FILE                     the conditions as a C header, one X-macro
#
# The script takes what needs no library. A function in C has NAME.script.sql beside it (one that creates nothing: the script goes
# without the function), or else a twin NAME_sql in the manifest, its SQL path, which in the script has the function's own name.
#
# --only leaves out the other nouns (core always comes along): for trying a part while another is being written.
# The product is written under another name first, so that an interrupted run never leaves half of one. Needs perl-base alone.
use strict;
use warnings;

BEGIN { unshift @INC, $0 =~ m{\A(.*)/} ? $1 : '.' }
use parts;

my $sql = $parts::sql;
my %products = (extension => \&extension, script => \&script, conditions => \&conditions_header);

# The twins: NAME_sql => NAME.
my %name = map { $_->{name} => 1 } parts::manifest();
my %twin = map { /^(.+)_sql\z/ && $name{$1} ? ($_ => $1) : () } keys %name;

my $mode = shift @ARGV // '';
my %wanted;
if (@ARGV > 2 && $ARGV[0] eq '--only') {
    shift @ARGV;
    %wanted = map { $_ => 1 } 'core', split /,/, shift @ARGV;
}
die "usage: assemble.pl extension|script [--only noun,...] FILE\n       assemble.pl conditions FILE\n"
    unless $products{$mode} && @ARGV == 1;
parts::write_file($ARGV[0], $products{$mode}->());

# ---------------------------------------------------------------------------------------------------------------- products

sub extension {
    return join "\n",
        "-- cloaca: the install script of the extension, assembled by sql/assemble.pl.",
        "\\echo Use \"create extension cloaca\" to load this file. \\quit\n",
        "create schema cloaca;\n",
        body('extension'),
        "select pg_catalog.pg_extension_config_dump('cloaca.tenant', '');\n";
}

sub script {
    return join "\n",
        "-- cloaca without its library, assembled by sql/assemble.pl. Load it as the owner-to-be: psql -1 -v ON_ERROR_STOP=1 -f FILE",
        "create schema cloaca;\n",
        body('script');
}

sub conditions_header {
    my @rows = map { sprintf '    X(%s, "%s", "%s", %s, "%s")', uc $_->{name}, @$_{qw(name sqlstate)}, uc $_->{kind}, $_->{message} }
        parts::conditions();
    return "/* Every condition, in the order of sql/conditions: X(ENUMERATOR, name, SQLSTATE, KIND, message). Generated. */\n"
        . "#ifndef CLOACA_CONDITIONS_H\n#define CLOACA_CONDITIONS_H\n\n#define CLOACA_CONDITIONS(X) \\\n"
        . join(" \\\n", @rows) . "\n\n#endif\n";
}

# -------------------------------------------------------------------------------------------------------------------- parts

# Registry, functions in the order of the manifest, grants.
sub body {
    my ($kind) = @_;
    my (@functions, @missing, @parts);

    for my $function (grep { !%wanted || $wanted{ $_->{noun} } } parts::manifest()) {
        my $file = source($function, $kind) // next;
        my $text = -e "$sql/$file" ? parts::read_file("$sql/$file") : '';
        next if $file =~ /\.script\.sql\z/ && $text !~ /^create /m;
        $text =~ s/\b(\w+_sql)\b/$twin{$1} \/\/ $1/ge if $kind eq 'script';
        push @functions, $function;
        $function->{create} = created_arguments($text, $function->{name});
        push @missing, $file unless defined $function->{create};
        die "sql/$file: a function in C cannot be in the script; write its $function->{name}.script.sql\n"
            if $kind eq 'script' && $text =~ /MODULE_PATHNAME/;
        push @parts, "-- $function->{noun}/$function->{name}\n" . without_header($text);
    }
    die map { "sql/$_: does not exist or creates no function of that name\n" } @missing if @missing;

    my %fill = (
        CONDITIONS      => condition_rows(),
        TENANT_TABLES   => tenant_tables(),
        TABLE_UPGRADES  => table_upgrades(),
        ADMIN_FUNCTIONS => join(', ', map { signature($_) } grep { $_->{access} eq 'admin' } @functions),
    );
    my $text = join "\n", parts::read_file("$sql/tenant/registry.postgres.sql"), @parts, grants(@functions);
    $text =~ s/\@(CONDITIONS|TENANT_TABLES|TABLE_UPGRADES|ADMIN_FUNCTIONS)\@/$fill{$1}/g;
    return $text;
}

# The file that a product takes a function from, or nothing when it has no such function: helpers that stand for something that the
# library does are in the script alone, twins under their own name in the extension alone.
sub source {
    my ($function, $kind) = @_;
    my $path = "$function->{noun}/$function->{name}";
    my ($postgres, $script, $twin) = ("$path.postgres.sql", "$path.script.sql", "${path}_sql.postgres.sql");
    my $has_script = -e "$sql/$script";
    return $has_script && !-e "$sql/$postgres" ? undef : $postgres if $kind eq 'extension';
    return $twin{ $function->{name} } ? undef : $has_script ? $script : $twin{"$function->{name}_sql"} ? $twin : $postgres;
}

# Nothing executes for PUBLIC but what the manifest says.
sub grants {
    my @all = map { signature($_) } @_;
    my @public = map { signature($_) } grep { $_->{access} eq 'public' } @_;
    return "-- Who may execute what\n"
        . 'revoke all on routine ' . join(",\n    ", @all) . "\n    from public;\n"
        . (@public ? 'grant execute on routine ' . join(",\n    ", @public) . "\n    to public;\n" : '')
        . "grant usage on schema cloaca to public;\n";
}

# The rows of a values list: condition, SQLSTATE, message.
sub condition_rows {
    return join ",\n", map { "        ('$_->{name}', '$_->{sqlstate}', '$_->{message}')" } parts::conditions();
}

# Further rows of a values list: version, the statements that lead from it to the next (sql/upgrade/tables--<version>--<next>.sql).
sub table_upgrades {
    return join '', map { m{--(\d+)--\d+\.sql\z} ? ",\n        ($1, \$upgrade\$" . parts::read_file($_) . '$upgrade$)' : () }
        sort glob "$sql/upgrade/tables--*.sql";
}

# All tables and indexes of a tenant, as the elements of one create schema: without semicolons and comments.
sub tenant_tables {
    my %seen;
    my @elements;
    for my $noun (grep { !$seen{$_}++ } map { $_->{noun} } parts::manifest()) {
        my $file = "$sql/$noun/tables.postgres.sql";
        next unless -e $file;
        my $text = parts::read_file($file);
        $text =~ s/^\s*--.*\n//mg;
        push @elements, grep { length } map { s/^\s+|\s+$//gr } split /;\s*$/m, $text;
    }
    /^create\s+(table|(unique\s+)?index)\s/ or die "tables.postgres.sql: only tables and indexes, not: $_\n" for @elements;
    return join "\n", @elements;
}

# The arguments of the statement that creates the function, as they are written, or nothing when the file has no such statement.
sub created_arguments {
    my ($text, $name) = @_;
    $text =~ /^create\s+(?:function|procedure)\s+cloaca\.\Q$name\E\s*(\((?:[^()']++|'[^']*'|(?1))*\))/m or return;
    return substr $1, 1, -1;
}

# schema.name(types), as regprocedure reads it and as grant and revoke take it.
sub signature {
    my ($function) = @_;
    my @arguments = map { parts::argument(s/^(?:in|inout|variadic) //r) } grep { !/^out / } parts::split_list($function->{create});
    return "cloaca.$function->{name}(" . join(', ', map { $_->{type} } @arguments) . ')';
}

# Without the comment block at the top, which the reference is made from.
sub without_header {
    my ($text) = @_;
    $text =~ s/\A(?:--.*\n|\s*\n)+//;
    return $text;
}
