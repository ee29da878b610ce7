# shellcheck shell=bash disable=SC2016
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests: one QEMU process each, started inside the LAN's namespace and ended by
# its recorded pid. A guest's folder $LAB_RUN/NODE holds pid, console, the
# agent's sockets and what it was started with.

guest_dir() { printf '%s/%s' "$LAB_RUN" "$1"; }

# n1, n2 ... n99; the number gives the address (10 + number) and the MAC.
guest_number() {
	[[ $1 =~ ^n([1-9][0-9]?)$ ]] || die "bad node name '$1' (n1 ... n99)"
	printf '%s' "${BASH_REMATCH[1]}"
}

guest_ip() { printf '%s.%d' "$LAB_LAN" "$((10 + $(guest_number "$1")))"; }

# The pid only while it is still the QEMU of this guest.
guest_pid() {
	local dir pid
	dir=$(guest_dir "$1")
	pid=$(cat "$dir/pid" 2>/dev/null) || return 1
	[[ -n $pid && -r /proc/$pid/cmdline ]] || return 1
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "path=$dir/lab.0," || return 1
	printf '%s' "$pid"
}

qemu_args() { # qemu_args NODE SUITE KERNEL MEM CPUS: fills the array qemu
	local node=$1 suite=$2 kernel=$3 mem=$4 cpus=$5 dir kdir image n i
	dir=$(guest_dir "$node")
	n=$(guest_number "$node")
	kdir=$(kernel_dir "$kernel")
	image=$kdir/vmlinux
	[[ -e $image ]] || image=$kdir/vmlinuz
	# shellcheck disable=SC2054 # QEMU's own commas
	qemu=(qemu-system-x86_64 -name "$node"
		-machine q35 -cpu "$LAB_CPU"
		-smp "$cpus" -m "$mem" -nodefaults -no-user-config -display none -no-reboot
		-kernel "$image" -initrd "$kdir/initrd"
		-append "norandmaps nokaslr mitigations=off tsc=reliable panic=-1 quiet console=ttyS0 $LAB_APPEND
 lab.name=$node lab.ip=$(guest_ip "$node")/24 lab.gw=$LAB_LAN.1 lab.root_size=$mem lab.docker_size=$mem"
		-chardev "socket,id=con,path=$dir/console.sock,server=on,wait=off,logfile=$dir/console"
		-serial chardev:con
		-drive "file=$kdir/modules.erofs,if=none,id=modules,format=raw,readonly=on"
		-device virtio-blk-pci,drive=modules
		-drive "file=$(image_dir "$suite")/root.erofs,if=none,id=root,format=raw,readonly=on"
		-device virtio-blk-pci,drive=root
		-netdev "tap,id=lan,ifname=tap$n,script=no,downscript=no"
		-device "virtio-net-pci,netdev=lan,mac=52:54:00:77:00:$(printf '%02x' "$n")"
		-device virtio-rng-pci
		-device virtio-serial-pci,max_ports=$((LAB_PORTS + 1)))
	# Counting instructions: they move the guest's clock, whatever else this machine
	# does. All the guest's CPUs take turns in one thread.
	if [[ -n $LAB_ICOUNT ]]; then
		qemu+=(-accel "tcg,thread=single" -icount "$LAB_ICOUNT")
	else
		qemu+=(-accel "tcg,thread=multi")
	fi
	for ((i = 0; i < LAB_PORTS; i++)); do
		qemu+=(-chardev "socket,id=lab$i,path=$dir/lab.$i,server=on,wait=off"
			-device "virtserialport,chardev=lab$i,name=lab.$i")
	done
}

guest_start() {
	local node=$1 suite=$2 kernel=$3 mem=$4 cpus=$5 dir
	local -a qemu
	dir=$(guest_dir "$node")
	guest_pid "$node" >/dev/null && die "$node is up already"
	[[ -s $(kernel_dir "$kernel")/initrd && -s $(image_dir "$suite")/root.erofs ]] ||
		die "nothing prepared for $suite on kernel $kernel (tests/lab/lab prepare $suite)"
	rm -rf "$dir"
	mkdir -p "$dir"
	tap_up "tap$(guest_number "$node")"
	qemu_args "$node" "$suite" "$kernel" "$mem" "$cpus"
	printf 'engine=%s kernel=%s mem=%s cpus=%s\n' "$suite" "$kernel" "$mem" "$cpus" >"$dir/info"
	setsid nsenter --net="/run/netns/$LAB_NETNS" -- "${qemu[@]}" </dev/null >"$dir/qemu.log" 2>&1 3>&- 4>&- 8>&- 9>&- &
	printf '%s\n' "$!" >"$dir/pid"
}

guest_wait() {
	local node=$1 dir
	dir=$(guest_dir "$node")
	"$(compile labcall)" call -t "$LAB_BOOT_LIMIT" "$dir" "$LAB_PORTS" true </dev/null ||
		{ tail -n 5 "$dir/qemu.log" "$dir/console" >&2; die "$node does not come up"; }
}

# Waits for guests' agents, each on its own; a QEMU that ended is told at once.
guests_wait() {
	local node
	for node in "$@"; do
		guest_pid "$node" >/dev/null || { sleep 0.3; guest_pid "$node" >/dev/null; } ||
			{ tail -n 5 "$(guest_dir "$node")/qemu.log" >&2; die "$node: QEMU did not start"; }
		guest_wait "$node"
	done
}

guest_up() {
	local suite=bookworm kernel=$LAB_KERNEL_SUITE mem=1024 cpus=2 node start
	local -a nodes=()
	while (($#)); do
		case $1 in
		--engine | --kernel | --mem | --cpus)
			(($# > 1)) || die "$1 needs a value" ;;&
		--engine) suite=$2; shift 2 ;;
		--kernel) kernel=$2; shift 2 ;;
		--mem) mem=$2; shift 2 ;;
		--cpus) cpus=$2; shift 2 ;;
		-*) die "unknown option $1" ;;
		*) guest_number "$1" >/dev/null; nodes+=("$1"); shift ;;
		esac
	done
	((${#nodes[@]} > 0)) || die "up: which node?"
	is_suite "$suite" || die "unknown suite $suite (one of: ${LAB_SUITES[*]})"
	need_root
	need_tools qemu-system-x86_64 ip nsenter gcc
	start=$(now_ms)
	mkdir -p "$LAB_RUN"
	exec 9>"$LAB_RUN/lock"
	flock 9
	net_up
	for node in "${nodes[@]}"; do guest_start "$node" "$suite" "$kernel" "$mem" "$cpus"; done
	flock -u 9
	guests_wait "${nodes[@]}"
	say "up: ${nodes[*]} ($suite, kernel $(cat "$(kernel_dir "$kernel")/version"), $(($(now_ms) - start)) ms)"
}

guest_down() {
	local node=$1 pid i
	if pid=$(guest_pid "$node"); then
		kill "$pid" 2>/dev/null || true
		for ((i = 0; i < 100; i++)); do
			guest_pid "$node" >/dev/null || break
			sleep 0.05
		done
		if guest_pid "$node" >/dev/null; then kill -9 "$pid" 2>/dev/null || true; fi
	fi
	tap_down "tap$(guest_number "$node")"
	rm -rf "$(guest_dir "$node")"
}

guest_list() {
	local d
	for d in "$LAB_RUN"/n[0-9]*/; do
		[[ -d $d ]] && basename "$d"
	done
	return 0
}

guests_down() {
	local node
	need_root
	# shellcheck disable=SC2046 # names are single words
	(($# > 0)) || set -- $(guest_list)
	for node in "$@"; do guest_down "$node"; done
	net_down
}

guests_show() {
	local node pid state rss
	for node in $(guest_list); do
		if pid=$(guest_pid "$node"); then
			rss=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status")
			state="up pid=$pid rss=${rss}MB"
		else
			state=dead
		fi
		printf '%s %s %s %s\n' "$node" "$(guest_ip "$node")" "$state" "$(cat "$(guest_dir "$node")/info")"
	done
}

# guest_exec [-i] [-t SEC] NODE CMD...
guest_exec() {
	local -a opts=()
	while [[ ${1:-} == -* ]]; do
		case $1 in
		-i) opts+=(-i); shift ;;
		-t) opts+=(-t "$2"); shift 2 ;;
		*) die "exec: unknown option $1" ;;
		esac
	done
	(($# >= 2)) || die "exec: which node, which command?"
	local node=$1
	shift
	guest_pid "$node" >/dev/null || die "$node is not up"
	exec "$(compile labcall)" call "${opts[@]}" "$(guest_dir "$node")" "$LAB_PORTS" "$@"
}

# Files and folders travel as a tar stream through exec.
guest_put() {
	(($# == 3)) || die "put NODE SRC DST"
	local node=$1 src=$2 dst=$3 mode
	if [[ -d $src ]]; then
		tar -C "$src" -cf - . | (guest_exec -i "$node" sh -c 'mkdir -p "$1" && tar -C "$1" --warning=no-timestamp -xf -' sh "$dst")
	else
		mode=$(stat -c %a "$src")
		(guest_exec -i "$node" sh -c '[ ! -d "$1" ] || set -- "$1/$2" "$2" "$3"
			mkdir -p "$(dirname "$1")" && cat >"$1.put" && chmod "$3" "$1.put" && mv "$1.put" "$1"' \
			sh "$dst" "${src##*/}" "$mode") <"$src"
	fi
}

guest_get() {
	(($# == 3)) || die "get NODE SRC DST"
	local node=$1 src=$2 dst=$3
	if (guest_exec "$node" test -d "$src"); then
		mkdir -p "$dst"
		(guest_exec "$node" tar -C "$src" -cf - .) | tar -C "$dst" -xf -
	else
		[[ ! -d $dst ]] || dst=$dst/$(basename "$src")
		(guest_exec "$node" cat "$src") >"$dst" || { rm -f "$dst"; die "get: no $src on $node"; }
	fi
}

guest_log() { # of one that may be dead
	local dir
	dir=$(guest_dir "$1")
	if guest_pid "$1" >/dev/null; then say "$1 runs"; else say "$1 has ended"; fi
	tail -n 15 "$dir/qemu.log" "$dir/console"
}

guest_console() {
	local tty=
	need_tools socat
	guest_pid "$1" >/dev/null || die "$1 is not up"
	tail -n 20 "$(guest_dir "$1")/console"
	say "(console of $1; leave with ctrl-] )"
	if [[ -t 0 ]]; then tty=,raw,echo=0,escape=0x1d; fi
	socat "STDIO$tty" "UNIX-CONNECT:$(guest_dir "$1")/console.sock"
}
