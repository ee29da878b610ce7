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
OWN_LDFLAGS := -pthread $(SAN) $(if $(filter release,$(VARIANT)),-pie -Wl,-z,relro,-z,now)

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

define test_rule
$(B)/tests/$(2)/$(1)/test_%: $(B)/tests/$(2)/$(1)/test_%.o $(TEST_HELP) \
		$$(call archive,$$(uses_$(1)))
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(LDFLAGS) $$(OWN_LDFLAGS) -o $$@ $$^ -lcmocka $$(PKG_LIBS)
endef
$(foreach d,$(DIRS),$(foreach l,unit netns,$(eval $(call test_rule,$(d),$(l)))))

unit-bin: $(UNIT_BIN)
netns-bin: $(NETNS_BIN)

.PHONY: all unit-bin netns-bin
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
