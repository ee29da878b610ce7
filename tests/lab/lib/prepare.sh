# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds what guests boot from: a kernel with its modules and an initramfs, and
# one read-only root image per suite. Every step is skipped when its result is
# in the cache and its inputs (package versions, lists, sources) are the same.

# Modules that the initramfs loads before it can mount the root.
BOOT_MODULES=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_console erofs overlay)

# read_packages SUITE LIST...: per line the first name that the suite has.
read_packages() {
	local suite=$1 lines known line name found
	shift
	lines=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -- "$@" | tr '|' ' ')
	# shellcheck disable=SC2086 # names are single words
	known=" $(apt_known "$suite" $lines | tr '\n' ' ') "
	while IFS= read -r line; do
		found=
		for name in $line; do
			[[ $known == *" $name "* ]] && found=$name && break
		done
		[[ -n $found ]] || die "suite $suite has none of: $line"
		printf '%s\n' "$found"
	done <<<"$lines" | sort -u
}

# extract_vmlinux BZIMAGE OUT: the kernel's ELF file out of its compressed image.
# The boot protocol's header says where the payload lies.
extract_vmlinux() {
	local image=$1 out=$2 sects off len magic
	sects=$(od -An -tu1 -j $((0x1f1)) -N1 "$image")
	off=$(od -An -tu4 -j $((0x248)) -N4 "$image")
	len=$(od -An -tu4 -j $((0x24c)) -N4 "$image")
	off=$(((sects + 1) * 512 + off))
	magic=$(od -An -tx1 -j "$off" -N4 "$image" | tr -d ' ')
	payload() { tail -c +$((off + 1)) "$image" | head -c "$len"; }
	case $magic in
	02214c18) payload | lz4 -dc 2>/dev/null >"$out" || true ;; # ends with the size: lz4 complains
	28b52ffd) payload | zstd -dc 2>/dev/null >"$out" || true ;;
	fd377a58) payload | xz -dc --single-stream 2>/dev/null >"$out" || true ;;
	1f8b*) payload | gzip -dc 2>/dev/null >"$out" || true ;;
	*) return 1 ;;
	esac
	[[ $(head -c 4 "$out" | od -An -tx1 | tr -d ' ') == 7f454c46 ]]
}

# Prints the modules in load order, dependencies first, as paths below the tree.
module_order() {
	local tree=$1 name
	shift
	for name in "$@"; do
		awk -F: -v want="$name" '
			{ base = $1; sub(".*/", "", base); sub("[.]ko.*", "", base); gsub("-", "_", base)
			  if (base == want) { n = split($2, dep, " "); for (i = n; i > 0; i--) print dep[i]; print $1 } }
		' "$tree/modules.dep"
	done | awk '!seen[$0]++'
}

# The initramfs: busybox, the boot modules, the agent, the guest's scripts.
build_initrd() {
	local tree=$1 busybox=$2 out=$3 dir path
	dir=$(mktemp -d "$LAB_CACHE/tmp.XXXXXX")
	mkdir -p "$dir"/{bin,lab,modules}
	cp "$busybox" "$dir/bin/busybox"
	cp "$LAB_HOME/guest/init" "$dir/init"
	cp "$LAB_HOME/guest/boot" "$LAB_HOME/guest/docker-up" "$dir/lab/"
	cp "$(compile labcall)" "$dir/lab/labcall"
	chmod 755 "$dir/init" "$dir"/lab/* "$dir/bin/busybox"
	while IFS= read -r path; do
		cp "$tree/$path" "$dir/modules/"
		basename "$path"
	done < <(module_order "$tree" "${BOOT_MODULES[@]}") >"$dir/modules/order"
	(cd "$dir" && find . | cpio -o -H newc --quiet) >"$out"
	rm -rf "$dir"
}

# unpack ROOT DEB...: file contents only, through the merged /usr's links.
unpack() {
	local root=$1 deb
	shift
	for deb in "$@"; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root" -f -
	done
}

make_image() { # make_image DIR OUT
	mkfs.erofs --quiet -zlz4 -T0 -Enoinline_data "$2.new" "$1" >/dev/null 2>&1 ||
		mkfs.erofs --quiet -zlz4 -T0 "$2.new" "$1" >/dev/null
	mv "$2.new" "$2"
}

kernel_dir() { printf '%s/kernel/%s' "$LAB_CACHE" "$1"; }
image_dir()  { printf '%s/image/%s' "$LAB_CACHE" "$1"; }

# The machine's own static busybox serves the initramfs too.
static_busybox() {
	[[ -x /bin/busybox ]] || die "no /bin/busybox (Debian package busybox-static)"
	printf '/bin/busybox\n'
}

# The packages of a suite's cloud kernel: one up to trixie, several since.
kernel_packages() {
	local suite=$1 image
	image=$(apt_in "$suite" apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
	[[ -n $image ]] || die "suite $suite has no cloud kernel"
	printf '%s\n' "$image"
	apt_in "$suite" apt-cache depends "$image" | awk '/ Depends: linux-(base|binary|modules)-[0-9]/ { print $2 }'
}

# Newer kernels lie in the modules' folder, older ones in /boot.
take_kernel() { # take_kernel ROOT VERSION TREE OUTDIR
	local root=$1 version=$2 tree=$3 out=$4 image=$3/vmlinuz
	[[ -e $image ]] || image=$root/boot/vmlinuz-$version
	extract_vmlinux "$image" "$out/vmlinux" || { rm -f "$out/vmlinux"; cp "$image" "$out/vmlinuz"; }
	cp "$tree/config" "$out/config" 2>/dev/null || cp "$root/boot/config-$version" "$out/config"
	rm -f "$tree/vmlinuz"
}

# The few modules of the initramfs are kept apart, so that it can be rebuilt.
keep_boot_modules() { # keep_boot_modules TREE OUTDIR
	local tree=$1 out=$2/boot-modules path
	mkdir "$out"
	cp "$tree/modules.dep" "$out/"
	module_order "$out" "${BOOT_MODULES[@]}" | while IFS= read -r path; do
		mkdir -p "$out/$(dirname "$path")"
		cp "$tree/$path" "$out/$path"
	done
}

fetch_kernel() {
	local suite=$1 dir=$2 pkgs version tree deb
	pkgs=$(kernel_packages "$suite")
	rm -rf "$dir" && mkdir -p "$dir/deb" "$dir/root"
	# shellcheck disable=SC2086 # names are single words
	(cd "$dir/deb" && apt_in "$suite" apt-get download $pkgs >/dev/null)
	for deb in "$dir"/deb/*.deb; do dpkg -x "$deb" "$dir/root"; done
	for tree in "$dir"/root/{usr/,}lib/modules/*; do [[ ! -d $tree ]] || break; done
	[[ -d $tree ]] || die "no modules in $pkgs"
	version=${tree##*/}
	take_kernel "$dir/root" "$version" "$tree" "$dir"
	mkdir -p "$dir/tree/lib/modules"
	mv "$tree" "$dir/tree/lib/modules/"
	find "$dir/tree" -name '*.ko.xz' -exec xz -d {} +
	find "$dir/tree" -name '*.ko.zst' -exec zstd -q -d --rm {} +
	depmod -b "$dir/tree" "$version"
	make_image "$dir/tree/lib/modules" "$dir/modules.erofs"
	keep_boot_modules "$dir/tree/lib/modules/$version" "$dir"
	rm -rf "$dir/root" "$dir/tree" "$dir/deb"
	printf '%s\n' "$version" >"$dir/version"
}

prepare_kernel() {
	local suite=$1 dir want key
	dir=$(kernel_dir "$suite")
	want=$(deb_version "$suite" linux-image-cloud-amd64)
	if [[ $(cat "$dir/package" 2>/dev/null) != "$want" ]]; then
		step "kernel $suite ($want)" fetch_kernel "$suite" "$dir"
		printf '%s\n' "$want" >"$dir/package"
	fi
	key=$(digest "$LAB_HOME"/guest/* "$LAB_HOME/src/labcall.c" "$dir/package")
	if [[ $(cat "$dir/initrd.key" 2>/dev/null) != "$key" ]]; then
		step "initramfs $suite" build_initrd "$dir/boot-modules" "$(static_busybox)" "$dir/initrd"
		printf '%s\n' "$key" >"$dir/initrd.key"
	fi
}

# What the packages' install scripts would have made.
finish_root() {
	local root=$1 t
	mkdir -p "$root"/{proc,sys,dev,run,tmp,root,var/log,var/lib/docker,var/lib/containerd,var/tmp,lab,etc/docker}
	rm -rf "$root/var/run" # some packages ship a folder there
	ln -s ../run "$root/var/run"
	cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
	cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
	printf 'docker:x:999:\n' >>"$root/etc/group"
	printf 'passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n' >"$root/etc/nsswitch.conf"
	for t in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		ln -sf "${t/tables/tables-nft}" "$root/usr/sbin/$t"
	done
	[[ -e $root/usr/bin/awk ]] || ln -s mawk "$root/usr/bin/awk"
	if [[ ! -e $root/usr/bin/nc && -e $root/usr/bin/nc.openbsd ]]; then
		ln -s nc.openbsd "$root/usr/bin/nc"
	fi
	rm -rf "$root"/usr/share/{doc,man,locale,info,lintian} "$root/var/cache/apt"
	ldconfig -r "$root"
}

build_image() {
	local suite=$1 dir=$2 root d
	shift 2
	root=$(mktemp -d "$LAB_CACHE/tmp.XXXXXX")
	chmod 755 "$root"
	mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
	for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
	unpack "$root" "$@"
	finish_root "$root"
	make_image "$root" "$dir/root.erofs"
	rm -rf "$root"
}

# prepare_image NAME SUITE LIST...: the root image NAME out of package lists.
prepare_image() {
	local name=$1 suite=$2 dir key packages files debs
	shift 2
	dir=$(image_dir "$name")
	mkdir -p "$dir"
	# The same package lists and sources as last time give the same image.
	[[ ! -s $dir/root.erofs || $(cat "$dir/resolved" 2>/dev/null) != "$(image_inputs "$suite" "$@")" ]] || return 0
	packages=$(read_packages "$suite" "$@")
	# shellcheck disable=SC2086 # names are single words
	files=$(apt_closure "$suite" $packages)
	mapfile -t debs <<<"$files"
	key=$(printf '%s\n' "${debs[@]##*/}" "$(declare -f unpack finish_root build_image make_image)" | sha256sum | cut -c1-16)
	if [[ $(cat "$dir/key" 2>/dev/null) != "$key" || ! -s $dir/root.erofs ]]; then
		step "image $name (${#debs[@]} packages)" build_image "$suite" "$dir" "${debs[@]}"
		printf '%s\n' "${debs[@]##*/}" >"$dir/packages"
		printf '%s\n' "$key" >"$dir/key"
	fi
	image_inputs "$suite" "$@" >"$dir/resolved"
}

image_inputs() { # image_inputs SUITE LIST...
	local suite=$1
	shift
	printf '%s %s\n' "$(digest "$@" "$LAB_HOME/lib/prepare.sh")" "$(stat -c %Y "$LAB_CACHE/apt/$suite/updated")"
}

prepare_suite() {
	local suite=$1
	step "apt lists $suite" apt_update "$suite"
	prepare_image "$suite" "$suite" "$LAB_HOME/packages/base.list" "$LAB_HOME/packages/engine.list"
}

prepare() {
	local s suites=("$@")
	need_root
	need_tools apt-get dpkg-deb mkfs.erofs depmod cpio lz4 gcc od awk xz flock
	((${#suites[@]} > 0)) || suites=("${LAB_SUITES[@]}")
	mkdir -p "$LAB_CACHE"
	exec 8>"$LAB_CACHE/lock"
	flock 8
	rm -rf "$LAB_CACHE"/tmp.??????
	trap step_failed EXIT
	step "apt lists $LAB_KERNEL_SUITE" apt_update "$LAB_KERNEL_SUITE"
	prepare_kernel "$LAB_KERNEL_SUITE"
	for s in "${suites[@]}"; do
		is_suite "$s" || die "unknown suite $s (one of: ${LAB_SUITES[*]})"
		prepare_suite "$s"
	done
	say "prepare: cache $(du -sh "$LAB_CACHE" | cut -f1) in $LAB_CACHE"
}
