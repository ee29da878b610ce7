# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# How long a container takes to start on a fairlead network, compared to Docker's
# own user-defined bridge, and until a new replica is asked. Needs the networks
# "bridged" (Docker's) and "lead" (fairlead's).

AIM_START='<=1.10'
PARALLEL=10
started=0

network_of() { if [[ $1 == A ]]; then echo bridged; else echo lead; fi; }

start_one() { # start_one NETWORK NAME [OPTION...]
	docker run -d --name "$2" --network "$1" "${@:3}" "$IMAGE" sleep 10000 >/dev/null
}

run_and_end() { docker run --rm --network "$1" "$IMAGE" true; }

start_many() { # start_many NETWORK NAME [OPTION...]: at once
	local i pids=()
	for ((i = 0; i < PARALLEL; i++)); do
		start_one "$1" "$2-$i" "${@:3}" &
		pids+=("$!")
	done
	wait "${pids[@]}"
}

remove_many() { docker ps -aq --filter "name=^$1-" | xargs -r docker rm -f >/dev/null; }

measure_one() { # measure_one KEY ROUNDS [OPTION...]
	local key=$1 side name
	rounds_begin "$2" 15
	shift 2
	while round_next; do
		for side in A B; do
			name=one-$((++started))
			timed start_one "$(network_of $side)" "$name" "$@"
			sample "$key" $side "$took"
			docker rm -f "$name" >/dev/null
		done
	done
}

measure_end() { # measure_end KEY ROUNDS
	local side
	rounds_begin "$2" 15
	while round_next; do
		for side in A B; do
			timed run_and_end "$(network_of $side)"
			sample "$1" $side "$took"
		done
	done
}

measure_many() { # measure_many KEY ROUNDS [OPTION...]
	local key=$1 side name
	rounds_begin "$2" 20
	shift 2
	while round_next; do
		for side in A B; do
			name=many-$((++started))
			timed start_many "$(network_of $side)" "$name" "$@"
			sample "$key" $side "$took"
			remove_many "$name"
		done
	done
}

# Containers on both networks, a service each.
start_services() { # start_services COUNT
	local i
	for ((i = 1; i <= $1; i++)); do echo "$i"; done |
		xargs -P 4 -I N sh -c "docker run -d --name service-N --network bridged \
			--label fairlead.service=sN $IMAGE sleep 10000 >/dev/null &&
			docker network connect lead service-N"
	wait_until 30 services_are "$1"
}

services_are() {
	fairlead status --json | jq -e --argjson n "$1" \
		'[.networks[].services[]?.backends[]? | select(.state == "active")] | length == $n'
}

part_start() { # part_start ROUNDS
	local rounds=$1
	section "Container start" "Docker's user-defined bridge" "fairlead"
	row run ms "$AIM_START" "docker run -d"
	row end ms "$AIM_START" "docker run --rm true"
	row many ms "$AIM_START" "docker run -d, $PARALLEL at once"
	row run1 ms "$AIM_START" "docker run -d, 2nd replica, 1 service"
	row run50 ms "$AIM_START" "docker run -d, 2nd replica, $SERVICES services"
	row end50 ms "$AIM_START" "docker run --rm true, $SERVICES services"
	row many50 ms "$AIM_START" "docker run -d, $PARALLEL at once, $SERVICES services"
	measure_one run "$rounds"
	measure_end end "$rounds"
	measure_many many "$((rounds / 3 + 1))"
	start_services 1
	measure_one run1 "$rounds" --label fairlead.service=s1
	docker rm -f service-1 >/dev/null
	start_services "$SERVICES"
	measure_one run50 "$rounds" --label fairlead.service=s1
	measure_end end50 "$rounds"
	measure_many many50 "$((rounds / 3 + 1))" --label fairlead.service=s1
	remove_many service
}

# ---- until a replica is asked -------------------------------------------------

# Asks an address every few milliseconds, in the namespace of a process, until
# the answer comes from a given server; prints the time. Without any other
# process, which would disturb what is measured.
# shellcheck disable=SC2016 # for the inner shell
ASK='
	exec 9<> <(:)
	while ((SECONDS < 20)); do
		if exec 3<>"/dev/tcp/$1/80"; then
			printf "GET / HTTP/1.0\r\n\r\n" >&3
			while read -r line <&3; do
				case $line in "$2 "*) echo "$EPOCHREALTIME"; exit ;; esac
			done
			exec 3>&-
		fi 2>/dev/null
		read -rt 0.004 <&9
	done
	exit 1'

part_follow() { # part_follow ROUNDS
	local vip client start asked asker
	section "New replica, from docker run on" "docker run -d returned" \
		"its first request through the VIP is answered"
	row follow ms - "docker run -d of a second replica"
	docker run -d --name follow-first --network lead --label fairlead.service=follow \
		"$IMAGE" okhttpd 80 first >/dev/null
	start_one lead follow-client
	client=$(docker inspect -f '{{.State.Pid}}' follow-client)
	wait_until 10 vip_known follow
	vip=$(vip_of follow)
	rounds_begin "$1" 20
	while round_next; do
		host nsenter -t "$client" -n bash -c "$ASK" ask "$vip" "next$round" \
			>"$WORK/asked" &
		asker=$!
		start=${EPOCHREALTIME/[.,]/}
		timed docker run -d --name follow-next --network lead \
			--label fairlead.service=follow "$IMAGE" okhttpd 80 "next$round" >/dev/null
		wait "$asker"
		asked=$(<"$WORK/asked")
		sample follow A "$took"
		sample follow B "$(((${asked/[.,]/} - start) / 1000))"
		docker rm -f follow-next >/dev/null
	done
	remove_many follow
}
