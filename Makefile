# cloaca: the only entry.
#
#   make            build everything that this machine can build, into build/
#   make install    install it: the extension where pg_config points to, the client under PREFIX (DESTDIR is respected)
#   make check      set up what is missing, build, and run every test     make demo    show it at work
#
# The extension is built by PGXS in build/extension (src/extension/Makefile), the client by src/client/Makefile, which needs no
# PostgreSQL server package; this file only puts them together. Variables: PG_CONFIG, PREFIX, DESTDIR, CC, CFLAGS, URL (demo).

PG_CONFIG ?= pg_config
export PG_CONFIG

version := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" cloaca.control)
# The folders are among them, so that a file that is gone is noticed.
sql_files := $(wildcard sql/*/. sql/*/*.postgres.sql sql/*/*.script.sql sql/upgrade/*.sql) sql/manifest sql/conditions sql/assemble.pl sql/parts.pm
programs := $(patsubst %/Makefile,%,$(wildcard src/cli/Makefile src/sqlite_module/Makefile))
# PGXS comes with the server's development package: without it only the client is built.
pgxs := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

.PHONY: all extension client programs sql-only install install-extension install-client installcheck check demo bench lint docs \
    sanitize valgrind dist clean

all: $(if $(pgxs),extension) client programs

extension: build/cloaca--$(version).sql build/conditions.h
	@$(if $(pgxs),,echo 'No PGXS: install postgresql-server-dev, or set PG_CONFIG.' >&2; exit 1)
	@mkdir -p build/extension
	$(MAKE) -C build/extension -f $(CURDIR)/src/extension/Makefile all

client: build/conditions.h
	$(MAKE) -C src/client

programs: client
	$(foreach directory,$(programs),$(MAKE) -C $(directory) &&) true

sql-only: build/cloaca-sql-only.sql

build/cloaca--$(version).sql: $(sql_files) | build
	perl sql/assemble.pl extension $@

build/cloaca-sql-only.sql: $(sql_files) | build
	perl sql/assemble.pl script $@

build/conditions.h: sql/conditions sql/assemble.pl sql/parts.pm | build
	perl sql/assemble.pl conditions $@

build:
	mkdir -p $@

install: $(if $(pgxs),install-extension) install-client

install-extension: extension
	$(MAKE) -C build/extension -f $(CURDIR)/src/extension/Makefile install

install-client: client programs
	$(foreach directory,src/client $(programs),$(MAKE) -C $(directory) install &&) true

# Against a server that runs, where the extension is installed: PGHOST and the like say which.
installcheck: build/cloaca--$(version).sql build/conditions.h
	@mkdir -p build/extension
	$(MAKE) -C build/extension -f $(CURDIR)/src/extension/Makefile installcheck

check:
	test/setup
	test/check

demo:
	@demo/run '$(URL)'

bench:
	bench/run

lint:
	test/lint/run

docs:
	perl docs/reference.pl docs/reference.md

sanitize:
	test/sanitize

valgrind:
	test/setup valgrind
	test/valgrind

# The tarball for PGXN: what is committed, with META.json filled in.
dist: | build
	sed 's/@VERSION@/$(version)/g' META.json.in > build/META.json
	git archive --format zip --prefix cloaca-$(version)/ --add-file build/META.json -o build/cloaca-$(version).zip HEAD

clean:
	rm -rf build
