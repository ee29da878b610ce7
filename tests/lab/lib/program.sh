# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Programs and the container image of the tests, put into a guest.

# A program of this machine runs in a guest of any suite, older or newer, when
# it has all its libraries with it, the C library and its loader included. Each
# gets a loader with the program's name, so that it is listed under it.
program_bundle() { # program_bundle DIR FILE...
	local dir=$1 file name lib libs loader
	shift
	mkdir -p "$dir"/opt/bundle/{lib,bin,loader} "$dir/usr/local/bin"
	for file in "$@"; do
		name=$(basename "$file")
		cp "$file" "$dir/opt/bundle/bin/$name"
		libs=$(ldd "$file" 2>&1) || libs=
		[[ $libs != *"not found"* ]] || die "$file: $(grep 'not found' <<<"$libs")"
		loader=$(grep -o '/[^ ]*/ld-linux[^ ]*' <<<"$libs") || loader=
		if [[ -z $loader ]]; then
			ln -s "/opt/bundle/bin/$name" "$dir/usr/local/bin/$name"
			continue
		fi
		cp -L "$loader" "$dir/opt/bundle/loader/$name"
		while read -r lib; do
			cp -Lu "$lib" "$dir/opt/bundle/lib/"
		done < <(awk '$2 == "=>" { print $3 }' <<<"$libs")
		printf '#!/bin/sh\nexec %s --argv0 %s --library-path %s %s "$@"\n' \
			"/opt/bundle/loader/$name" "$name" /opt/bundle/lib "/opt/bundle/bin/$name" \
			>"$dir/usr/local/bin/$name"
		chmod 755 "$dir/usr/local/bin/$name"
	done
}

programs_put() { # programs_put NODE FILE...
	local node=${1:?node} dir
	dir=$(mktemp -d "$LAB_RUN/bundle.XXXXXX")
	chmod 755 "$dir" # it becomes the guest's root folder's mode
	(program_bundle "$dir" "${@:2}" && guest_put "$node" "$dir" /)
	rm -rf "$dir"
}

# There is no registry. (`docker cp` into a container fails on Engine 28.5.2, so
# what a container needs is in the image.)
image_put() { # image_put NODE [NAME]
	local tar
	tar=$("$LAB_HOME/../image.sh")
	(guest_exec -i "$1" docker import -c 'CMD ["okhttpd", "80"]' \
		-c 'ENV PATH=/usr/local/bin:/bin' - "${2:-fairlead-test}") <"$tar" >/dev/null
}
