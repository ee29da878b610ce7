#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the root of the tests' container image as a tar file for `docker
# import`: a static busybox with its links, and okhttpd. No registry needed.
# Usage: tests/image.sh            prints the tar file's path (kept in build/)
#        tests/image.sh okhttpd    prints the path of okhttpd alone
# BUSYBOX=FILE: another static busybox than the machine's.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
OUT=$ROOT/build/test-image
SRC=$ROOT/tests/lab/src/okhttpd.c
BUSYBOX=${BUSYBOX:-/bin/busybox}

die() { printf 'image.sh: %s\n' "$*" >&2; exit 1; }

build_okhttpd() {
	if [[ -e $OUT/okhttpd && ! $OUT/okhttpd -ot $SRC ]]; then return; fi
	gcc -std=gnu11 -O2 -Wall -Wextra -static -o "$OUT/okhttpd.$$" "$SRC" ||
		die "cannot compile $SRC"
	mv "$OUT/okhttpd.$$" "$OUT/okhttpd"
}

build_tar() {
	local dir name tar=$OUT/image.tar
	if [[ -e $tar && ! $tar -ot $OUT/okhttpd && ! $tar -ot $BUSYBOX ]]; then return; fi
	[[ -x $BUSYBOX ]] || die "no $BUSYBOX (Debian package busybox-static)"
	dir=$(mktemp -d "$OUT/root.XXXXXX")
	chmod 755 "$dir"
	mkdir -p "$dir"/{bin,tmp,etc,proc,sys,dev,root,usr/local/bin}
	chmod 1777 "$dir/tmp"
	cp "$BUSYBOX" "$dir/bin/busybox"
	cp "$OUT/okhttpd" "$dir/usr/local/bin/okhttpd"
	# A dynamic one would not find its libraries in there.
	chroot "$dir" /bin/busybox true || die "$BUSYBOX is not static (Debian package busybox-static)"
	for name in $("$dir/bin/busybox" --list); do
		[[ $name == busybox ]] || ln -s busybox "$dir/bin/$name"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/etc/passwd"
	tar -C "$dir" --owner=0 --group=0 -cf "$tar.$$" .
	mv "$tar.$$" "$tar"
	rm -rf "$dir"
}

mkdir -p "$OUT"
build_okhttpd
if [[ ${1:-} == okhttpd ]]; then
	printf '%s\n' "$OUT/okhttpd"
else
	build_tar
	printf '%s\n' "$OUT/image.tar"
fi
