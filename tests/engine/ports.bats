# SPDX-License-Identifier: GPL-2.0-or-later
# Published ports: replicas share one, the backends see the client, and a port is
# held by one service at a time.

load engine
load story

setup_file() {
	engine_start
	engine_image
	fairlead_start
}

teardown_file() { engine_cleanup; }

setup() {
	network app
}

teardown() {
	engine_logs_on_failure
	clean_up
}

http() { # http WHERE ADDR PORT [COUNT]: WHERE is host or outside
	"$1" "$OKHTTPD" get "$2" "$3" "${4:-1}"
}

udp() { # a socket each: one flow stays at its backend
	local n
	for ((n = 0; n < ${4:-1}; n++)); do "$1" "$OKHTTPD" udp "$2" "$3"; done
}

refused() { # nobody answers there
	run http "$@"
	[[ $status != 0 && $output == none ]]
}

clients() { cut -d' ' -f2 | sort -u | paste -sd' '; }

# The ports and errors of a service, as the status has them.
ports() { status "$(service_filter "$1") | .ports | join(\" \")"; }
errors() { status "$(service_filter "$1") | .errors | join(\"; \")"; }

@test "three replicas share -p 8080:80, outside clients keep their address" {
	three -p 8080:80
	http outside 192.0.2.1 8080 9 >"$BATS_TEST_TMPDIR/answers"
	[[ $(tally <"$BATS_TEST_TMPDIR/answers") == "web1 3 web2 3 web3 3" ]]
	[[ $(clients <"$BATS_TEST_TMPDIR/answers") == 192.0.2.9 ]]
	[[ $(ports web) == '*:8080->80/tcp' ]]
	run outside ping -c 1 -W 1 "$(vip web)"
	[[ $status != 0 ]]
}

@test "the host reaches it: by 127.0.0.1, its address, its name" {
	three -p 8080:80
	[[ $(http host 127.0.0.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(http host 192.0.2.1 8080 6 | tally) == "web1 2 web2 2 web3 2" ]]
	[[ $(host curl -s "http://$MACHINE:8080/") == web[123]\ * ]]
}

@test "containers reach it: a replica itself, a neighbour, one of another network" {
	three -p 8080:80
	client
	network other
	container extra --network other
	docker run -d --name bridged fairlead-test sleep 1000 >/dev/null
	for from in web1 client extra bridged; do
		[[ $(get "$from" 192.0.2.1 6 8080 | tally) == "web1 2 web2 2 web3 2" ]]
	done
}

@test "UDP" {
	three -p 8053:80/udp
	udp outside 192.0.2.1 8053 6 >"$BATS_TEST_TMPDIR/answers"
	[[ $(tally <"$BATS_TEST_TMPDIR/answers") == "web1 2 web2 2 web3 2" ]]
	[[ $(clients <"$BATS_TEST_TMPDIR/answers") == 192.0.2.9 ]]
	[[ $(udp host 127.0.0.1 8053) == web[123]\ * ]]
	[[ $(ports web) == '*:8053->80/udp' ]]
	refused outside 192.0.2.1 8053
}

@test "-p 127.0.0.1:8080:80 is for the host alone" {
	three -p 127.0.0.1:8080:80
	[[ $(http host 127.0.0.1 8080 3 | tally) == "web1 1 web2 1 web3 1" ]]
	refused host 192.0.2.1 8080
	refused outside 192.0.2.1 8080
	[[ $(ports web) == '127.0.0.1:8080->80/tcp' ]]
}

@test "one address of the host, and a port of one container without a service" {
	host ip addr add 192.0.2.7/32 dev eth0
	container web1 --network app -p 192.0.2.7:8080:80
	[[ $(http outside 192.0.2.7 8080) == "web1 192.0.2.9" ]]
	refused outside 192.0.2.1 8080
	host ip addr del 192.0.2.7/32 dev eth0
}

@test "IPv6: published there too" {
	network other --ipv6 --subnet 10.30.0.0/24 --subnet fd00:30::/64
	for n in 1 2; do container "web$n" --network other -l fairlead.service=web -p 8080:80; done
	settled web 'web1=active web2=active' other
	http outside 2001:db8:2::1 8080 4 >"$BATS_TEST_TMPDIR/answers"
	[[ $(tally <"$BATS_TEST_TMPDIR/answers") == "web1 2 web2 2" ]]
	[[ $(clients <"$BATS_TEST_TMPDIR/answers") == 2001:db8:2::9 ]]
	[[ $(http outside 192.0.2.1 8080 4 | tally) == "web1 2 web2 2" ]]
}

@test "several ports, of two networks' services" {
	network other
	replica web1 web -p 8080:80 -p 8081:80
	container api1 --network other -l fairlead.service=api -p 9090:80
	settled web web1=active
	settled api api1=active other
	[[ $(http outside 192.0.2.1 8080 | names) == web1 ]]
	[[ $(http outside 192.0.2.1 8081 | names) == web1 ]]
	[[ $(http outside 192.0.2.1 9090 | names) == api1 ]]
}

@test "a stopped replica gets none, the last one closes the port" {
	three -p 8080:80
	docker stop web2 >/dev/null
	[[ $(http outside 192.0.2.1 8080 4 | tally) == "web1 2 web3 2" ]]
	gone web1 web2 web3
	refused outside 192.0.2.1 8080
	replica web4 web -p 8080:80
	settled web web4=active
	[[ $(http outside 192.0.2.1 8080 | names) == web4 ]]
}

@test "a port that another service holds: both see it in the status, then it is taken over" {
	replica web1 web -p 8080:80
	settled web web1=active
	replica api1 api -p 8080:80
	settled api api1=active
	[[ $(http outside 192.0.2.1 8080 4 | tally) == "web1 4" ]]
	[[ $(ports web) == '*:8080->80/tcp' && -z $(errors web) ]]
	[[ -z $(ports api) && $(errors api) == *8080* ]]
	fairlead status | grep -q '! .*8080'
	gone web1
	[[ $(http outside 192.0.2.1 8080 4 | tally) == "api1 4" ]]
	[[ $(ports api) == '*:8080->80/tcp' && -z $(errors api) ]]
}

@test "-p 80: each container gets a free port, all lead to the service" {
	replica web1 web -p 80
	replica web2 web -p 80
	settled web 'web1=active web2=active'
	for port in $(ports web); do
		[[ $port =~ ^\*:([0-9]+)-\>80/tcp$ ]]
		[[ $(http outside 192.0.2.1 "${BASH_REMATCH[1]}" 4 | tally) == "web1 2 web2 2" ]]
		chosen+=("$port")
	done
	[[ ${#chosen[@]} == 2 ]]
}

@test "a range of ports: each service the first that is free" {
	replica web1 web -p 8080-8085:80
	replica api1 api -p 8080-8085:80
	settled web web1=active
	settled api api1=active
	[[ $(ports web) == '*:8080->80/tcp' && $(ports api) == '*:8081->80/tcp' ]]
	[[ $(http outside 192.0.2.1 8081 | names) == api1 ]]
}

@test "an open connection through the port stays while replicas come and go" {
	three -p 8080:80
	outside "$OKHTTPD" hold 192.0.2.1 8080 60 "$BATS_TEST_TMPDIR/enough" \
		>"$BATS_TEST_TMPDIR/hold" 3>&- &
	wait_until 10 held
	used=$(holder)
	for n in 1 2 3; do [[ web$n == "$used" ]] || gone "web$n"; done
	replica web4 web -p 8080:80
	settled web "$used=active web4=active"
	true >"$BATS_TEST_TMPDIR/enough"
	wait
	[[ $(<"$BATS_TEST_TMPDIR/hold") == "$used "*$'\nfailed 0' ]]
}

held() { [[ -n $(holder) ]]; }
holder() {
	local n
	for n in 1 2 3; do
		[[ -z $(in_task "web$n" ss -Htn state established src "$(addr "web$n")") ]] || echo "web$n"
	done
}
