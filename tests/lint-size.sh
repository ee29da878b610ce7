#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Limits that keep the code readable: no function over 100 lines, no file over 1000.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files 'plugin/*.c' 'driver/*.c' 'ipam/*.c' 'lb/*.c' | xargs awk '
	FNR == 1 { if (NR > 1) check(); file = FILENAME; start = 0 }
	{ lines = FNR }
	/^[a-z].*\)$/ || /^[a-z].*,$/ || /^[a-z].*\($/ { if (!start) name = FNR }
	/^\{/ { start = name ? name : FNR }
	/^\}/ { if (start && FNR - start + 1 > 100) { print file ":" start ": function of " FNR - start + 1 " lines"; bad = 1 }; start = 0; name = 0 }
	function check() { if (lines > 1000) { print file ": " lines " lines"; bad = 1 } }
	END { check(); exit bad }'
