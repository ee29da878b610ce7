# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Addresses and pools as Docker asks for them, over the plugin's socket: how many a
# second, how evenly, and what a million of them cost. An answer means that its
# transaction is on the disk. Needs a machine (tests/engine), no engine; fairlead is
# started and ended here. The client is ipamload (tests/lab/src): one thread in C.

IPAM_SOCKET=/run/docker/plugins/fairlead.sock
IPAM_BLOCK=20000   # requests of one sample
IPAM_MILLION=${BENCH_LEASES:-1000000}
IPAM_POOLS=5000
IPAM_CLIENTS=64

ipam_call() { # ipam_call METHOD JSON: fails on an error
	local answer
	answer=$(plugin_call "$@")
	[[ $answer != *'"Err"'* ]] || { say "$1: $answer"; return 1; }
	printf '%s\n' "$answer"
}

ipam_pool() { # ipam_pool SUBNET: all of it for containers; prints its id
	ipam_call IpamDriver.RequestPool "{\"AddressSpace\":\"fairlead-local\",\"Pool\":\"$1\",
		\"SubPool\":\"\",\"Options\":{\"vip-range\":\"none\"},\"V6\":false}" | jq -r .PoolID
}

ipam_release() { ipam_call IpamDriver.ReleasePool "{\"PoolID\":\"$1\"}" >/dev/null; }

# Sets the fields that ipamload prints: got[rate], got[p99] (us) ...
ipam_load() { # ipam_load KIND CLIENTS COUNT [ARG...]
	local line
	line=$(host "$ipam_client" "$1" "$IPAM_SOCKET" "${@:2}")
	# shellcheck disable=SC2206 # fields are wanted
	local f=($line) i
	for ((i = 0; i < ${#f[@]}; i += 2)); do got[${f[i]}]=${f[i + 1]}; done
}

ipam_daemon() { # ipam_daemon FILE AWK: of its /proc
	host awk "$2" "/proc/$(<"$MACHINE_DIR/fairlead.pid")/$1"
}
ipam_cpu_us() { ipam_daemon stat "{ print (\$14 + \$15) * $((1000000 / $(getconf CLK_TCK))) }"; }
ipam_rss() { ipam_daemon status '/^VmRSS/ { print $2 * 1024 }'; }

per() { awk "BEGIN { printf \"%.3f\", ($1) / ($2) }"; }

ipam_settings() {
	printf 'SQLite as fairlead reads it back: %s; one client thread in C\n' \
		"$(sed -n 's/.*debug db: settings //p' "$MACHINE_LOG/fairlead.log" | tail -1)"
}

# ---- how many a second ------------------------------------------------------------

ipam_rate() { # ipam_rate KEY CLIENTS COUNT AIM-RATE
	local pool cpu
	pool=$(ipam_pool 10.16.0.0/12)
	ipam_load address "$2" "$3" "$pool" # the log of changes has its size then
	rounds_begin "$rounds" 15
	while round_next; do
		cpu=$(ipam_cpu_us)
		ipam_load address "$2" "$3" "$pool"
		sample "$1" A "$4"
		sample "$1" B "${got[rate]}"
		sample "$1-cpu" A "${got[cpu]}"
		sample "$1-cpu" B "$(per "$(ipam_cpu_us) - $cpu" "$3")"
		sample "$1-p99" A 10
		sample "$1-p99" B "$(per "${got[p99]}" 1000)"
		sample "$1-disk" B "$(fsync_ms)"
	done
	ipam_release "$pool"
}

# The same while endpoints come and go, each with a veth.
ipam_busy() {
	local pool net=4242424242424242424242424242424242424242424242424242424242424242
	local subnet=10.99.0.0/16 veths
	ipam_pool "$subnet" >/dev/null
	ipam_call NetworkDriver.CreateNetwork "{\"NetworkID\":\"$net\",\"Options\":{
		\"com.docker.network.generic\":{\"vip-range\":\"none\"}},\"IPv4Data\":[{
		\"AddressSpace\":\"fairlead-local\",\"Gateway\":\"10.99.0.1/16\",
		\"Pool\":\"$subnet\"}],\"IPv6Data\":[]}" >/dev/null
	pool=$(ipam_pool 10.16.0.0/12)
	mkfifo "$WORK/end"
	rounds_begin "$rounds" 25
	while round_next; do
		ipam_load address "$IPAM_CLIENTS" "$IPAM_BLOCK" "$pool"
		sample busy A "${got[rate]}"
		host "$ipam_client" veths "$IPAM_SOCKET" 8 60 "$net" 10.99.1.0 \
			<"$WORK/end" >"$WORK/veths" &
		veths=$!
		exec 8>"$WORK/end"
		wait_until 5 ipam_has_endpoints
		ipam_load address "$IPAM_CLIENTS" "$IPAM_BLOCK" "$pool"
		exec 8>&-
		wait "$veths"
		sample busy B "${got[rate]}"
		sample busy-rate A 16000
		sample busy-rate B "${got[rate]}"
		sample veths B "$(per "$(awk '{ print $2 }' "$WORK/veths")" 4)" # of four calls
	done
	ipam_release "$pool"
	ipam_call NetworkDriver.DeleteNetwork "{\"NetworkID\":\"$net\"}" >/dev/null
	ipam_release "fairlead-local/$subnet"
}

ipam_has_endpoints() { fairlead status --json | jq -e '[.networks[].endpoints] | add > 0'; }

# ---- flat -----------------------------------------------------------------------------

ipam_full() { # a /16, to its last address but the network's and the broadcast
	local pool
	rounds_begin 3 30
	while round_next; do
		pool=$(ipam_pool 10.98.0.0/16)
		ipam_load address "$IPAM_CLIENTS" 65534 "$pool"
		sample full A "$(per "${got[first]}" 1000)"
		sample full B "$(per "${got[last]}" 1000)"
		ipam_release "$pool"
	done
}

# Every second address: no two are neighbours, the worst for memory.
ipam_scattered() {
	local pool before
	pool=$(ipam_pool 10.96.0.0/15)
	before=$(ipam_rss)
	ipam_load given "$IPAM_CLIENTS" 50000 "$pool" 10.96.0.2 2
	sample scattered A 100
	sample scattered B "$(per "$(ipam_rss) - $before" 50000)"
	ipam_release "$pool"
}

ipam_flat() { # ipam_flat KEY POOL: a million leases in it
	ipam_load address "$IPAM_CLIENTS" "$IPAM_MILLION" "$2"
	sample "$1" A "$(per "${got[first]}" 1000)"
	sample "$1" B "$(per "${got[last]}" 1000)"
}

ipam_million() {
	local pool before
	pool=$(ipam_pool fd66:ffff::/64)
	ipam_flat million6 "$pool"
	ipam_release "$pool"
	fairlead_restart # its memory is measured from now on
	before=$(ipam_rss)
	pool=$(ipam_pool 11.0.0.0/8)
	ipam_flat million "$pool"
	sample memory A 100
	sample memory B "$(per "$(ipam_rss) - $before" "$IPAM_MILLION")"
	rounds_begin 3 20
	while round_next; do
		fairlead_kill
		sample start A 2000
		sample start B "$(ipam_start_ms)"
	done
	ipam_release "$pool"
}

ipam_start_ms() {
	local us start=${EPOCHREALTIME/[.,]/}
	machine_spawn "$MACHINE" fairlead "$FAIRLEAD" serve --docker-host unix:///run/docker.sock
	host "$ipam_client" wait "$IPAM_SOCKET" >/dev/null
	us=$((${EPOCHREALTIME/[.,]/} - start))
	per "$us" 1000
}

ipam_pools() {
	ipam_load pool 1 100
	sample pools A "$(per "${got[p50]}" 1000)"
	ipam_load pool "$IPAM_CLIENTS" $((IPAM_POOLS - 100))
	ipam_load pool 1 200
	sample pools B "$(per "${got[p50]}" 1000)"
	sample pools-p99 A 5
	sample pools-p99 B "$(per "${got[p99]}" 1000)"
}

# ---- the part ----------------------------------------------------------------------------

part_ipam() { # part_ipam ROUNDS
	local rounds=$1 ipam_client
	local -A got
	ipam_client=$("$TESTS_ROOT/tests/clients.sh" ipamload)
	section "Addresses over the plugin socket, each on disk when it is answered" wanted measured
	row many 1/s ">=1.00" "RequestAddress, $IPAM_CLIENTS clients"
	row many-p99 ms "<=1.00" "99 % of them answered within"
	row many-disk ms - "(dd: 4 KiB to the disk, between them)"
	row one 1/s ">=1.00" "RequestAddress, one client"
	row one-disk ms - "(dd: 4 KiB to the disk, between them)"
	row busy-rate 1/s ">=1.00" "$IPAM_CLIENTS clients while endpoints come and go"
	row memory byte "<=1.00" "memory, $IPAM_MILLION leases, each"
	row scattered byte "<=1.00" "memory, no two neighbours, each"
	row start ms "<=1.00" "start with $IPAM_MILLION leases"
	row pools-p99 ms "<=1.00" "99 % of RequestPool with $IPAM_POOLS held"
	section "CPU time of one request" "the client" fairlead
	row many-cpu us - "RequestAddress, $IPAM_CLIENTS clients"
	row one-cpu us - "RequestAddress, one client"
	# The client and fairlead's two threads use two CPUs already: what the third thread
	# and the kernel's own work take is missing there, more so the faster the disk is.
	section "While endpoints come and go, $(nproc) CPUs" "idle" "the kernel worker is busy with veths"
	row busy 1/s ">=0.80" "RequestAddress, $IPAM_CLIENTS clients"
	row veths 1/s - "endpoints"
	section "Flat: 1,000 RequestAddress" "the first" "the last"
	row full ms "<=1.50" "of a full /16"
	row million ms "<=1.50" "of $IPAM_MILLION in a /8"
	row million6 ms "<=1.50" "of $IPAM_MILLION in an IPv6 /64"
	row pools ms - "RequestPool, none and $IPAM_POOLS held"
	fairlead_start --log debug,db
	ipam_rate many "$IPAM_CLIENTS" "$IPAM_BLOCK" 20000
	ipam_rate one 1 2000 3000
	ipam_busy
	ipam_scattered
	ipam_full
	ipam_pools
	ipam_million
	fairlead_stop
}
