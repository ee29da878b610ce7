#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The arrows of the architecture and the owners of libraries' headers. One line of
# output for each breach; status 1 if there is one.
set -euo pipefail
cd "$(dirname "$0")/.."

bad=0
breach() { printf '%s\n' "$*"; bad=1; }

# allow FOLDER PATTERN...: what files directly in FOLDER may include of ours
allow() {
	local folder=$1 file include pattern
	shift
	while IFS=: read -r file include; do
		for pattern in "$folder/*" "$@"; do
			# shellcheck disable=SC2053 # a pattern is wanted
			[[ $include != $pattern || ( $pattern != plugin/base/* && $include == plugin/base/* ) ]] || continue 2
		done
		breach "$file: may not include \"$include\""
	done < <(git ls-files "$folder/*.c" "$folder/*.h" | grep -E "^$folder/[^/]*$" |
		xargs -r grep -Ho '^#include "[^"]*"' | sed 's/#include "\(.*\)"/\1/')
}

# owner HEADER-REGEX FILE-REGEX: only these files include that library's headers
owner() {
	local file
	while IFS= read -r file; do
		[[ $file =~ ^($2)$ ]] || breach "$file: includes <$1>, which belongs to $2"
	done < <(git grep -lE "^#include <($1)" -- plugin driver ipam lb)
}

allow plugin/base
allow driver/kern 'plugin/base/*'
allow driver 'driver/kern/*' 'plugin/base/*'
allow ipam 'plugin/base/*'
allow lb 'driver/kern/*' 'plugin/base/*'
allow lb/dns 'lb/types.h' 'driver/kern/*' 'plugin/base/*'
allow plugin 'plugin/base/*' 'driver/*' 'driver/kern/*' 'ipam/*' 'lb/*' 'lb/dns/*'

owner 'microhttpd\.h' 'plugin/http\.c'
owner 'jansson\.h' 'plugin/(api_[a-z]+|engine[a-z_]*|control[a-z_]*|cli[a-z_]*)\.c'
owner 'sqlite3\.h' 'plugin/base/db\.c'
owner 'libnftnl/|libmnl/' 'driver/kern/nft[a-z_]*\.[ch]'
owner 'netlink/route/' 'driver/kern/link[a-z_]*\.[ch]'
owner 'netlink/netfilter/' 'driver/kern/conntrack\.c'
owner 'netlink/genl/' 'lb/ipvs\.c'
owner 'ares\.h' 'lb/dns/forward\.c'
owner 'curl/' 'plugin/(engine[a-z_]*|cli[a-z_]*)\.c'
owner 'sched\.h' 'driver/kern/ns\.c'

while IFS= read -r file; do
	breach "$file: only driver/kern/ns.c may enter namespaces"
done < <(git grep -lwE 'setns|unshare' -- '*.c' ':!driver/kern/ns.c' ':!tests' || :)
while IFS= read -r file; do
	breach "$file: has no SPDX line"
done < <(git ls-files '*.c' '*.h' '*.sh' '*.bash' '*.bats' Makefile | xargs grep -L SPDX-License-Identifier)
exit "$bad"
