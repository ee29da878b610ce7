# SPDX-License-Identifier: GPL-2.0-or-later
# fairlead: one Makefile, GNU make, no recursion but for variants. `make help` lists
# the targets; README.md has the table of variables.

VARIANT ?= release
B := build/$(VARIANT)
V ?= 0
Q := $(if $(filter 1,$(V)),,@)

PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

CC ?= gcc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
CLANG_TIDY ?= clang-tidy
CLANG_FORMAT ?= clang-format

VERSION := 0.1.0

# --- libraries: name and lowest version that is tested (Debian 12) ---------------
PKGS := libmicrohttpd>=0.9.75 jansson>=2.14 libnl-3.0>=3.7 libnl-route-3.0>=3.7 \
	libnl-genl-3.0>=3.7 libnl-nf-3.0>=3.7 libnftnl>=1.2.4 libmnl>=1.0.4 \
	libcares>=1.18 sqlite3>=3.40 libsystemd>=252 libcurl>=7.88
PKG_NAMES := $(foreach p,$(PKGS),$(firstword $(subst >=, ,$(p))))
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKG_NAMES) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKG_NAMES) 2>/dev/null)

# --- compiler -------------------------------------------------------------------
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wswitch-enum -Wundef -Wvla -Wno-missing-field-initializers
WERROR ?= $(if $(CI),-Werror)
SAN_release :=
SAN_debug := -O0 -DDEBUG
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_tsan := -fsanitize=thread -fno-omit-frame-pointer
HARDEN_release := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
SAN := $(SAN_$(VARIANT)) $(HARDEN_$(VARIANT))
OWN := -std=gnu11 -D_GNU_SOURCE -DFAIRLEAD_VERSION='"$(VERSION)"' -I. $(WARN) $(WERROR) \
	$(PKG_CFLAGS) $(SAN) -MMD -MP
LINK_release := -pie -Wl,-z,relro,-z,now
OWN_LDFLAGS := -pthread $(SAN) $(LINK_$(VARIANT))

# --- sources: one archive a folder, linked in the order of the allowed arrows -----
DIRS := plugin driver ipam lb dns lbtypes kern base
src_plugin := $(filter-out plugin/main.c,$(wildcard plugin/*.c))
src_driver := $(wildcard driver/*.c)
src_ipam := $(wildcard ipam/*.c)
src_lb := $(filter-out lb/types.c,$(wildcard lb/*.c))
src_dns := $(wildcard lb/dns/*.c)
src_lbtypes := lb/types.c
src_kern := $(wildcard driver/kern/*.c)
src_base := $(wildcard plugin/base/*.c)
SRC := plugin/main.c $(foreach d,$(DIRS),$(src_$(d)))

# What the tests of a folder are linked with: the folder and what it may use.
uses_base := base
uses_kern := kern base
uses_ipam := ipam base
uses_dns := dns lbtypes kern base
uses_lb := lb lbtypes kern base
uses_driver := driver kern base
uses_plugin := $(DIRS)

archive = $(patsubst %,$(B)/lib%.a,$(1))

all: $(B)/fairlead

define archive_rule
$(B)/lib$(1).a: $$(patsubst %.c,$(B)/%.o,$$(src_$(1)))
	@echo "  AR      $$@"
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$^
endef
$(foreach d,$(DIRS),$(eval $(call archive_rule,$(d))))

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(OWN) $(CFLAGS) -c -o $@ $<

$(B)/fairlead: $(B)/plugin/main.o $(call archive,$(DIRS))
	@echo "  LD      $@"
	$(Q)$(CC) $(LDFLAGS) $(OWN_LDFLAGS) -o $@ $^ $(PKG_LIBS)

# --- tests: tests/unit/<folder>/test_<file>.c and tests/netns/<folder>/test_<x>.c --
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
NETNS_SRC := $(wildcard tests/netns/*/test_*.c)
UNIT_BIN := $(UNIT_SRC:%.c=$(B)/%)
NETNS_BIN := $(NETNS_SRC:%.c=$(B)/%)
TEST_HELP := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c))

# Functions that a test replaces by its own (__wrap_NAME), to make them fail.
WRAP_test_desired_fail := db_commit db_run db_step malloc calloc realloc strdup log_write
WRAP_test_names := dns_server_new dns_server_free dns_server_add dns_server_del \
	dns_server_set_client
WRAP_NODE := actual_new actual_free actual_start actual_network_add actual_network_state \
	actual_endpoint_adopt actual_endpoint_leave actual_endpoint_del actual_service actual_port \
	actual_count actual_repairs dns_server_new dns_server_free \
	dns_server_set_client db_commit
WRAP_test_node := $(WRAP_NODE) registry_deadline registry_expire desired_sweep_due \
	desired_sweep desired_engine_synced
WRAP_test_discovery := $(WRAP_NODE)
WRAP_test_control := $(WRAP_NODE) http_reply http_reply_error http_request_method \
	http_request_path

comma := ,
define test_rule
$(B)/tests/$(2)/$(1)/test_%: $(B)/tests/$(2)/$(1)/test_%.o $(TEST_HELP) \
		$$(call archive,$$(uses_$(1)))
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(LDFLAGS) $$(OWN_LDFLAGS) $$(WRAP_$$(@F):%=-Wl$$(comma)--wrap=%) -o $$@ $$^ \
		-lcmocka $$(PKG_LIBS)
endef
$(foreach d,$(DIRS),$(foreach l,unit netns,$(eval $(call test_rule,$(d),$(l)))))

unit-bin: $(UNIT_BIN)
netns-bin: $(NETNS_BIN)

# No root, no network.
check: unit-bin $(B)/fairlead
	@tests/run unit

# Everything; installs the Debian packages that are missing. LAYERS= for some of them.
LAYERS ?= unit netns engine lab asan tsan lint
test: deps-test
	@$(MAKE) --no-print-directory all unit-bin netns-bin
	@$(MAKE) --no-print-directory VARIANT=asan unit-bin netns-bin
	@$(MAKE) --no-print-directory VARIANT=tsan unit-bin netns-bin
	@tests/run $(LAYERS)

deps-build:
	@tests/deps.sh build
deps-test:
	@tests/deps.sh build test engine lab
deps-demo:
	@tests/deps.sh build demo
# What is missing to build, installs nothing.
deps:
	@$(PKG_CONFIG) --print-errors --exists $(foreach p,$(PKGS),"$(subst >=, >= ,$(p))") && \
		echo "all libraries are there" || \
		{ echo "Debian: apt install $$(tests/deps.sh --list build | tr '\n' ' ')"; exit 1; }

demo: deps-demo
	@$(MAKE) --no-print-directory all
	@tests/demo/demo

bench: deps-test
	@$(MAKE) --no-print-directory all
	@tests/bench/run

# --- fuzzing: make fuzz TARGET=dns_wire SECS=60 (clang) -------------------------------
SECS ?= 60
FUZZ_uses_dns_wire := $(src_dns) $(src_lbtypes) $(src_kern) $(src_base)
FUZZ_uses_api := plugin/api_json.c plugin/api_net.c plugin/api_ipam.c $(src_base)
fuzz:
	@mkdir -p build/fuzz/$(TARGET)
	clang $(filter-out -Werror,$(OWN)) -g -O1 -fsanitize=fuzzer,address,undefined \
		-o build/fuzz/fuzz_$(TARGET) tests/fuzz/fuzz_$(TARGET).c \
		$(FUZZ_uses_$(TARGET)) -pthread $(PKG_LIBS)
	build/fuzz/fuzz_$(TARGET) -max_total_time=$(SECS) build/fuzz/$(TARGET) \
		tests/fuzz/corpus/$(TARGET)

# --- looking at the code -----------------------------------------------------------------
C_FILES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
SH_FILES := $(shell git grep -lE '^\#!.*(bash|/sh)|shellcheck shell=' -- tests packaging .ci 2>/dev/null)

lint: format-check lint-includes lint-size lint-man shellcheck cppcheck tidy

format-check:
	@$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
format:
	@$(CLANG_FORMAT) -i $(C_FILES)
lint-includes:
	@tests/lint-includes.sh
lint-size:
	@tests/lint-size.sh
lint-man: $(B)/fairlead
	@tests/lint-man.sh $(B)/fairlead
shellcheck:
	@shellcheck $(SH_FILES)
# tests/lint: what the analysers read instead of some libraries' headers. cppcheck knows
# no __attribute__((cleanup)), so that each auto_free is a leak to it; in tests it takes
# no notice of assertions.
LINT_FLAGS := -Itests/lint -I. -D_GNU_SOURCE -DFAIRLEAD_VERSION='"$(VERSION)"'
LINT_JOBS ?= $(shell nproc)
LINT_SRC := $(filter %.c,$(C_FILES))

cppcheck:
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability -j$(LINT_JOBS) \
		--inline-suppr --suppress=missingIncludeSystem --suppress=memleak \
		--suppress='nullPointerRedundantCheck:tests/*' \
		--suppress='arrayIndexOutOfBoundsCond:tests/*' \
		--include=tests/lint/cppcheck.h --error-exitcode=1 $(LINT_FLAGS) $(LINT_SRC)
# Findings go to standard output, what clang-tidy counts to standard error.
tidy:
	@mkdir -p build
	@printf '%s\n' $(LINT_SRC) | xargs -P$(LINT_JOBS) -I{} $(CLANG_TIDY) --quiet {} -- \
		-std=gnu11 $(LINT_FLAGS) $(PKG_CFLAGS) 2>build/tidy.err || \
		{ grep -vE '^[0-9]+ warnings? ' build/tidy.err; exit 1; }

# --- installing ----------------------------------------------------------------------------
INSTALLED := $(SBINDIR)/fairlead $(MANDIR)/man8/fairlead.8 $(MANDIR)/man5/fairlead.conf.5 \
	$(UNITDIR)/fairlead.service $(UNITDIR)/fairlead.socket $(TMPFILESDIR)/fairlead.conf

install: $(B)/fairlead
	install -D -m 755 $(B)/fairlead $(DESTDIR)$(SBINDIR)/fairlead
	install -D -m 644 packaging/man/fairlead.8 $(DESTDIR)$(MANDIR)/man8/fairlead.8
	install -D -m 644 packaging/man/fairlead.conf.5 $(DESTDIR)$(MANDIR)/man5/fairlead.conf.5
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|@SBINDIR@|$(SBINDIR)|' packaging/systemd/fairlead.service \
		> $(DESTDIR)$(UNITDIR)/fairlead.service
	install -m 644 packaging/systemd/fairlead.socket $(DESTDIR)$(UNITDIR)/fairlead.socket
	chmod 644 $(DESTDIR)$(UNITDIR)/fairlead.service
	install -D -m 644 packaging/systemd/fairlead.tmpfiles $(DESTDIR)$(TMPFILESDIR)/fairlead.conf
	test -e $(DESTDIR)/etc/fairlead/fairlead.conf || \
		install -D -m 644 packaging/fairlead.conf $(DESTDIR)/etc/fairlead/fairlead.conf

# The configuration stays.
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))

# A managed plugin, ready for `docker plugin create fairlead build/plugin`.
PLUGIN_NAME ?= fairlead
PLUGIN_STATE ?= /var/lib/fairlead
plugin-dir: $(B)/fairlead
	packaging/docker-plugin/make-dir $(B)/fairlead build/plugin $(PLUGIN_STATE)
plugin: plugin-dir
	install -d -m 700 $(PLUGIN_STATE)
	docker plugin create $(PLUGIN_NAME) build/plugin
	@echo "now: docker plugin enable $(PLUGIN_NAME)"

dist:
	git archive --prefix=fairlead-$(VERSION)/ -o fairlead-$(VERSION).tar.gz HEAD

clean:
	rm -rf build fairlead-*.tar.gz

help:
	@echo "all          the program, build/release/fairlead"
	@echo "check        unit tests: no root, no network"
	@echo "test         all test layers (root; installs missing Debian packages)"
	@echo "demo         the whole story on this machine's Docker, or one of its own (root)"
	@echo "bench        figures, with ratios (root)"
	@echo "install      DESTDIR=, PREFIX=$(PREFIX); uninstall"
	@echo "plugin-dir   a managed Docker plugin in build/plugin; plugin: creates it"
	@echo "lint         format, includes, sizes, man pages, shellcheck, cppcheck, clang-tidy"
	@echo "fuzz         TARGET=dns_wire|api SECS=60"
	@echo "deps         which libraries are missing; dist, clean, format"
	@echo "variables    VARIANT=release|debug|asan|tsan  V=1  CC CFLAGS CPPFLAGS LDFLAGS"

.PHONY: all unit-bin netns-bin check test deps deps-build deps-test deps-demo demo bench fuzz \
	lint format-check format lint-includes lint-size lint-man shellcheck cppcheck tidy install \
	uninstall plugin-dir plugin dist clean help
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
