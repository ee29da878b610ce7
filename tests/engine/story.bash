# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a user does and sees, for the engine tests: networks and replicas of
# services, their status, names, and who answers. `load story` after `load engine`.
#
#   network NAME [OPTION...]          docker network create, driver and IPAM ours
#                                     (DRIVER: of this name)
#   replica NAME SERVICE [OPTION...]  a container of the service (label
#                                     fairlead.service) on network app that
#                                     answers its own name on port 80
#   three [OPTION...]                 replicas web1 to web3 of web, active
#   container NAME [OPTION...]        the same server, no service, no network given
#   client [NAME [OPTION...]]         a container of no service, on app
#   gone NAME...                      removes containers at once
#   clean_up                          removes all containers and networks
#   status FILTER                     what jq prints of the status
#   holds FILTER                      whether the filter is true of the status
#   states SERVICE [NETWORK]          "web1=active web2=active", by container
#   settled SERVICE STATES [NETWORK]  waits until it is like that
#   vip SERVICE [NETWORK]             its first VIP
#   addr CONTAINER [NETWORK]          its IPv4 address
#   get CONTAINER ADDR [COUNT] [PORT] asks; the answers, "NAME CLIENT" a line
#   load_begin ADDR [PORT], load_end  client asks without pause; whether all went well
#   names                             the names of answers, in their order, one line
#   tally                             "NAME COUNT" of answers in one line, sorted
#   in_task CONTAINER CMD...          the machine's command in its namespace
#   in_sandbox NETWORK CMD...         the same in that of a network
#   ask CONTAINER NAME [TYPE...]      dig in the container, short form
#   follow WHAT CONTAINER ACTION FILTER CMD...
#                                     runs a docker command, waits until the status
#                                     fits, and tells how long after Docker's event
#                                     the client's rules changed (balancer nft)

# shellcheck disable=SC2034 # for the bats files
OKHTTPD=$("$TESTS_ROOT/tests/image.sh" okhttpd)
FOLLOW_LIMIT_MS=1000 # a few, really; the machine may be busy

network() { # network NAME [OPTION...]
	local name=$1
	shift
	docker network create -d "${DRIVER:-fairlead}" --ipam-driver "${DRIVER:-fairlead}" \
		"$@" "$name" >/dev/null
}

container() { # container NAME [OPTION...]
	local name=$1
	shift
	docker run -d --name "$name" "$@" fairlead-test okhttpd 80 "$name" >/dev/null
}

replica() { # replica NAME SERVICE [OPTION...]
	local name=$1 service=$2
	shift 2
	container "$name" --network app -l "fairlead.service=$service" "$@"
}

# With ports enough for seconds of `okhttpd load`.
client() { # client [NAME [OPTION...]]
	local name=${1:-client}
	shift || true
	docker run -d --name "$name" --network app --sysctl net.ipv4.tcp_tw_reuse=1 \
		--sysctl net.ipv4.ip_local_port_range='1024 65535' "$@" \
		fairlead-test okhttpd 80 "$name" >/dev/null
}

three() { # three [OPTION...]
	local n
	for n in 1 2 3; do replica "web$n" web "$@" & done
	wait
	settled web 'web1=active web2=active web3=active'
}

gone() { docker rm -f "$@" >/dev/null; }

clean_up() {
	docker ps -aq | xargs -r docker rm -f >/dev/null
	docker network ls -q --filter type=custom | xargs -r docker network rm >/dev/null
}

status() { control_get /v1/status | jq -r "$1"; }
holds() { control_get /v1/status | jq -e "$1" >/dev/null; }

network_filter() { # network_filter [NETWORK]: by id, the name is Docker's
	printf '.networks[] | select(.id == "%s")' \
		"$(docker network inspect -f '{{.Id}}' "${1:-app}")"
}

service_filter() { # service_filter SERVICE [NETWORK]
	printf '%s | .services[] | select(.name == "%s")' "$(network_filter "${2:-app}")" "$1"
}

states() {
	status "[$(service_filter "$@") | .backends[] | .container + \"=\" + .state] | sort | join(\" \")"
}

are_states() { [[ $(states "$1" "${3:-app}") == "$2" ]]; }

settled() { # settled SERVICE STATES [NETWORK]
	wait_until 5 are_states "$@" || { states "$1" "${3:-app}"; return 1; }
}

pool() { # pool FILTER [NETWORK]: of what "fairlead pools" says of its pool
	fairlead pools --json | jq -r --arg id "$(docker network inspect -f '{{.Id}}' "${2:-app}")" \
		".pools[] | select(.network == \$id) | $1"
}

leases() { pool .used; } # the gateway's, too
leases_are() { [[ $(leases) == "$1" ]]; }

vip() { status "$(service_filter "$@") | .vip[0]"; }

addr() { # addr CONTAINER [NETWORK]
	docker inspect -f "{{(index .NetworkSettings.Networks \"${2:-app}\").IPAddress}}" "$1"
}

get() { # get CONTAINER ADDR [COUNT] [PORT]
	docker exec "$1" okhttpd get "$2" "${4:-80}" "${3:-1}"
}

# One request after the other, a connection each, until load_end; which prints
# "NAME COUNT" of each second and fails if a request did. Nice: it takes all it gets.
load_begin() { # load_begin ADDR [PORT]
	local key
	key=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' client)
	rm -f "$MACHINE_DIR/enough"
	# shellcheck disable=SC2016 # for the inner shell
	host nsenter --net="$key" nice -n 19 sh -c 'until [ -e "$4" ]; do "$1" load "$2" "$3" 1; done' \
		sh "$OKHTTPD" "$1" "${2:-80}" "$MACHINE_DIR/enough" >"$BATS_TEST_TMPDIR/load" 3>&- &
	LOAD=$!
	wait_until 5 test -s "$BATS_TEST_TMPDIR/load"
}

load_end() {
	: >"$MACHINE_DIR/enough"
	wait "$LOAD"
	cat "$BATS_TEST_TMPDIR/load"
	[[ $(grep '^failed ' "$BATS_TEST_TMPDIR/load" | sort -u) == "failed 0" ]]
}

names() { cut -d' ' -f1 | paste -sd' '; }
tally() { cut -d' ' -f1 | sort | uniq -c | awk '{ print $2, $1 }' | paste -sd' '; }

# ---- inside --------------------------------------------------------------------

in_task() {
	local key
	key=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' "$1")
	shift
	host nsenter --net="$key" -- "$@"
}

in_sandbox() {
	local id
	id=$(docker network inspect -f '{{.Id}}' "$1")
	shift
	host nsenter --net="/run/fairlead/netns/fl-${id:0:12}" -- "$@"
}

ask() {
	local container=$1
	shift
	in_task "$container" dig +short +time=2 +tries=1 @127.0.0.11 "$@" | sort
}

# ---- how fast -----------------------------------------------------------------

event_ns() { # event_ns SINCE-NS CONTAINER ACTION: when it happened first
	local since=$1 now=${EPOCHREALTIME/[.,]/}000
	docker events --since "${since::-9}.${since: -9}" --until "${now::-9}.${now: -9}" \
		--filter "event=$3" --format '{{json .}}' |
		jq -r "select(.Actor.Attributes.name == \"$2\" or .Type == \"network\") | .timeNano" |
		head -n 1
}

# Writes down the changes of the client's rules, each line with its time.
watch_rules() {
	local key
	key=$(docker inspect -f '{{.NetworkSettings.SandboxKey}}' client)
	rm -f "$MACHINE_LOG/rules.log"
	# shellcheck disable=SC2016 # for the inner shell
	machine_spawn "$MACHINE" rules nsenter --net="$key" bash -c \
		'nft monitor | while read -r l; do echo "${EPOCHREALTIME/[.,]/}000 $l"; done'
	wait_until 5 watch_began
}

watch_began() { # a rule of somebody else's is in the log
	in_task client nft 'add table inet watched; delete table inet watched'
	grep -q watched "$MACHINE_LOG/rules.log"
}

watch_ends() { host kill -TERM -- "-$(<"$MACHINE_DIR/rules.pid")"; }

follow() { # follow WHAT CONTAINER ACTION FILTER CMD...
	local what=$1 name=$2 action=$3 filter=$4 begin event seen
	shift 4
	watch_rules
	begin=${EPOCHREALTIME/[.,]/}000
	"$@" >/dev/null
	wait_until 5 holds "$filter" || { echo "$what: never seen: $filter"; return 1; }
	watch_ends
	event=$(event_ns "$begin" "$name" "$action")
	seen=$(awk '/ inet fairlead / { print $1; exit }' "$MACHINE_LOG/rules.log")
	[[ -n $event && -n $seen ]] || { echo "$what: event at $event, rules at $seen"; return 1; }
	echo "# $what: followed $(((seen - event) / 1000000)) ms after the event" >&3
	(((seen - event) / 1000000 < FOLLOW_LIMIT_MS))
}
