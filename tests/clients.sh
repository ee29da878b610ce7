#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds a helper of tests and figures from tests/lab/src and prints its path.
# Usage: tests/clients.sh ipamkill|ipamload|failsync.so|slowwrite.so
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
OUT=$ROOT/build/test-clients
SRC=$ROOT/tests/lab/src/${1%.so}.c
flags=() libs=(-lsqlite3)
[[ $1 != *.so ]] || flags=(-shared -fPIC) libs=()

mkdir -p "$OUT"
if [[ ! -e $OUT/$1 || $OUT/$1 -ot $SRC || $OUT/$1 -ot $ROOT/tests/lab/src/plugincall.h ]]; then
	gcc -std=gnu11 -O2 -Wall -Wextra -Wshadow "${flags[@]}" -o "$OUT/$1.$$" "$SRC" "${libs[@]}"
	mv "$OUT/$1.$$" "$OUT/$1"
fi
printf '%s\n' "$OUT/$1"
