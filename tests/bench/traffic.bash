# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# What the way through a virtual IP or a published port costs. Every round has
# new containers: connections that an earlier run left in connection tracking
# make another one look many times slower.
#
# One server process, one client (wrk, one thread, 8 connections), each on a CPU
# of its own where there are two. Besides the rate there is the work done per
# second of CPU time of both: the same where a machine has nothing else to do,
# and still true where others take CPU time away.

AIM_VIP='>=0.95'
SECONDS_EACH=${BENCH_SECONDS:-1}

vip_of() {
	fairlead status --json | jq -r --arg name "$1" \
		'first(.networks[].services[]? | select(.name == $name) |
		select([.backends[] | select(.state == "active")] | length > 0) | .vip[0])'
}

vip_known() { [[ $(vip_of "$1") == *.* ]]; }
pid_of() { docker inspect -f '{{.State.Pid}}' "$1"; }
addr_of() { docker inspect -f "{{(index .NetworkSettings.Networks \"$2\").IPAddress}}" "$1"; }

# Gives a process a CPU of its own, before others, where the tools are there.
# Prefixes for a process of the machine: host; of this pid namespace: nothing.
prefer() { # prefer CPU PID [PREFIX...]
	local cpu=$1 pid=$2
	shift 2
	(($(nproc) < 2)) || "$@" taskset -a -p -c "$cpu" "$pid" >/dev/null
	! command -v renice >/dev/null || "$@" renice -n -20 -p "$pid" >/dev/null
}

# CPU time of a process, in microseconds.
# shellcheck disable=SC2016 # for awk
cpu_us() { host awk '{ printf "%d\n", $1 / 1000 }' "/proc/$1/schedstat"; }

# Each prints "COUNT SECONDS", of requests or of MB; the client is the prefix $client.
keepalive() { wrk_count "${client[@]}" wrk -t1 -c8 "-d$SECONDS_EACH" "http://$1/"; }
connections() {
	wrk_count "${client[@]}" wrk -t1 -c8 "-d$SECONDS_EACH" -H 'Connection: close' "http://$1/"
}
throughput() {
	{
		"${client[@]}" curl -s -o /dev/null -m "$SECONDS_EACH" \
			-w '%{size_download} %{time_total}\n' "http://$1/bytes/100000000000" ||
			true # ends by the time limit
	} | awk '{ print $1 / 1e6, $2 }'
}

wrk_count() {
	"$@" | awk '/requests in/ { n = $1 } /Requests\/sec/ { r = $2 } END { print n, n / r }'
}

# One run of a metric; a sample of its rate and of its work per CPU second.
measure() { # measure KEY SIDE METRIC SERVER_PID ADDR
	local before after cpu count seconds
	before=$(cpu_us "$4")
	(
		prefer 1 "$BASHPID"
		TIMEFORMAT='%U %S'
		{ time "$3" "$5" >"$WORK/count"; } 2>"$WORK/cpu"
	)
	after=$(cpu_us "$4")
	read -r count seconds <"$WORK/count"
	cpu=$(awk -v server="$((after - before))" '{ print $1 + $2 + server / 1e6 }' "$WORK/cpu")
	sample "$1-$3" "$2" "$(awk "BEGIN { print $count / $seconds }")"
	sample "$1-$3-cpu" "$2" "$(awk "BEGIN { print $count / $cpu }")"
}

traffic_rows() { # traffic_rows KEY
	row "$1-keepalive" "/s" "$AIM_VIP" "requests, kept-alive"
	row "$1-keepalive-cpu" "per CPU s" "$AIM_VIP" ""
	row "$1-connections" "/s" "$AIM_VIP" "requests, a connection each"
	row "$1-connections-cpu" "per CPU s" "$AIM_VIP" ""
	row "$1-throughput" "MB/s" "$AIM_VIP" "one long answer"
	row "$1-throughput-cpu" "MB per CPU s" "$AIM_VIP" ""
}

in_sandbox() { host nsenter -t "$1" -n "${@:2}"; }

# ---- task -> VIP against task -> backend ---------------------------------------

vip_round() { # vip_round KEY
	local metric server addr vip name client pids
	docker run -d --name vip-server --network lead --label fairlead.service=vip \
		"$IMAGE" okhttpd 80 server >/dev/null &
	pids=("$!")
	for name in A B; do
		docker run -d --name "vip-$name" --network lead "$IMAGE" sleep 10000 >/dev/null &
		pids+=("$!")
	done
	wait "${pids[@]}"
	server=$(pid_of vip-server)
	addr=$(addr_of vip-server lead)
	wait_until 20 vip_known vip
	vip=$(vip_of vip)
	prefer 0 "$server" host
	wait_until 10 in_sandbox "$(pid_of vip-A)" curl -s -m 1 -o /dev/null "http://$addr/"
	wait_until 10 in_sandbox "$(pid_of vip-B)" curl -s -m 1 -o /dev/null "http://$vip/"
	for metric in keepalive throughput connections; do
		client=(in_sandbox "$(pid_of vip-A)")
		measure "$1" A "$metric" "$server" "$addr"
		client=(in_sandbox "$(pid_of vip-B)")
		measure "$1" B "$metric" "$server" "$vip"
	done
	docker rm -f vip-server vip-A vip-B >/dev/null
}

part_vip() { # part_vip ROUNDS BALANCER
	local key=$BENCH_PREFIX$2
	section "Task to a service of one backend, balancer $2${BENCH_PREFIX:+ ($BENCH_PLACE)}" \
		"to the backend's address" "to the VIP"
	traffic_rows "$key"
	rounds_begin "$1" 60
	while round_next; do vip_round "$key"; done
}

# ---- published port --------------------------------------------------------------

port_round() { # port_round KEY
	local metric side client=(outside)
	local -A port=([A]=8081 [B]=8080) server
	docker run -d --name port-A --network bridged -p 8081:80 "$IMAGE" okhttpd 80 A >/dev/null
	docker run -d --name port-B --network lead --label fairlead.service=port -p 8080:80 \
		"$IMAGE" okhttpd 80 B >/dev/null
	for side in A B; do
		server[$side]=$(pid_of "port-$side")
		prefer 0 "${server[$side]}" host
		wait_until 10 outside curl -s -m 1 -o /dev/null "http://192.0.2.1:${port[$side]}/"
	done
	for metric in keepalive throughput connections; do
		for side in A B; do
			measure "$1" $side "$metric" "${server[$side]}" "192.0.2.1:${port[$side]}"
			host conntrack -F 2>/dev/null
		done
	done
	docker rm -f port-A port-B >/dev/null
}

part_port() { # part_port ROUNDS BALANCER
	local key=${BENCH_PREFIX}port-$2
	section "Outside client to a published port, balancer $2${BENCH_PREFIX:+ ($BENCH_PLACE)}" \
		"Docker's, on its bridge" "fairlead's"
	traffic_rows "$key"
	rounds_begin "$1" 60
	while round_next; do port_round "$key"; done
}
