# SPDX-License-Identifier: GPL-2.0-or-later
# The driver's protocol without an engine: the orders of calls that engines of all
# versions make, repeated, lost, late and broken ones. Requests as dockerd sends them.

load engine

setup_file() {
	engine_machine
	fairlead_start
}

teardown_file() { engine_cleanup; }

# A network of a subnet of its own for each test, ids as Docker's.
setup() {
	local n=$BATS_TEST_NUMBER
	NET=$(id "net $n")
	EP=$(id "endpoint $n")
	SUBNET=10.$((100 + n)).0
	POOL=
}

teardown() {
	engine_logs_on_failure
	machine_alive "$MACHINE" fairlead || fairlead_start
}

id() { printf '%s' "$1" | sha256sum | cut -d' ' -f1; }

# ---- requests ---------------------------------------------------------------------

call() { # call METHOD JSON: the answer; fails if it is an error
	plugin_call "$@" | tee "$BATS_TEST_TMPDIR/answer"
	! grep -q '"Err' "$BATS_TEST_TMPDIR/answer"
}

fails() { # fails TEXT METHOD JSON: an error with both keys, with this text
	local text=$1 answer
	shift
	answer=$(plugin_call "$@")
	jq -e --arg text "$text" '.Err == .Error and (.Err | contains($text))' <<<"$answer" >/dev/null ||
		{ echo "$1: $answer"; return 1; }
}

http_status() { # http_status METHOD [CURL OPTION...]
	local method=$1
	shift
	host curl -s -o "$BATS_TEST_TMPDIR/body" -w '%{http_code}' --unix-socket \
		/run/docker/plugins/fairlead.sock "$@" "http://plugin/$method"
}

pool() { # pool SUBNET: RequestPool; sets POOL
	POOL=$(call IpamDriver.RequestPool "{\"AddressSpace\":\"fairlead-local\",\"Pool\":\"$1\",
		\"SubPool\":\"\",\"Options\":{},\"V6\":false}" | jq -r .PoolID)
	[[ -n $POOL ]]
}

address() { # address [ADDRESS]: RequestAddress; prints it
	call IpamDriver.RequestAddress \
		"{\"PoolID\":\"$POOL\",\"Address\":\"${1:-}\",\"Options\":null}" | jq -r .Address
}

gateway() {
	call IpamDriver.RequestAddress "{\"PoolID\":\"$POOL\",\"Address\":\"${1:-}\",
		\"Options\":{\"RequestAddressType\":\"com.docker.network.gateway\"}}" | jq -r .Address
}

release() { call IpamDriver.ReleaseAddress "{\"PoolID\":\"$POOL\",\"Address\":\"${1%/*}\"}"; }
release_pool() { call IpamDriver.ReleasePool "{\"PoolID\":\"$POOL\"}"; }

network_json() { # network_json [GENERIC]
	printf '{"NetworkID":"%s","Options":{"com.docker.network.enable_ipv6":false,
		"com.docker.network.generic":{%s}},"IPv4Data":[{"AddressSpace":"fairlead-local",
		"Gateway":"%s.1/24","Pool":"%s.0/24"}],"IPv6Data":[]}' "$NET" "${1:-}" "$SUBNET" "$SUBNET"
}

create_network() { # as docker network create
	pool "$SUBNET.0/24"
	[[ $(gateway) == "$SUBNET.1/24" ]]
	call NetworkDriver.CreateNetwork "$(network_json "$@")"
}

remove_network() {
	release "$SUBNET.1"
	release_pool
	call NetworkDriver.DeleteNetwork "{\"NetworkID\":\"$NET\"}"
}

ids() { printf '{"NetworkID":"%s","EndpointID":"%s"}' "$NET" "$EP"; }

create_endpoint() { # create_endpoint ADDRESS
	call NetworkDriver.CreateEndpoint "{\"NetworkID\":\"$NET\",\"EndpointID\":\"$EP\",
		\"Interface\":{\"Address\":\"$1\",\"AddressIPv6\":\"\",\"MacAddress\":\"\"},
		\"Options\":{\"com.docker.network.endpoint.exposedports\":[],\"com.docker.network.portmap\":[]}}"
}

join() { # the namespace is not there yet, as with engines before 28
	call NetworkDriver.Join "{\"NetworkID\":\"$NET\",\"EndpointID\":\"$EP\",
		\"SandboxKey\":\"/var/run/docker/netns/${EP:52}\",
		\"Options\":{\"com.docker.network.endpoint.exposedports\":[],\"com.docker.network.portmap\":[]}}"
}

publish() { # publish HOST-PORT
	call NetworkDriver.ProgramExternalConnectivity "{\"NetworkID\":\"$NET\",\"EndpointID\":\"$EP\",
		\"Options\":{\"com.docker.network.endpoint.exposedports\":[{\"Proto\":6,\"Port\":80}],
		\"com.docker.network.portmap\":[{\"Proto\":6,\"IP\":\"\",\"Port\":80,\"HostIP\":\"\",
		\"HostPort\":$1,\"HostPortEnd\":$1}]}}"
}

start() { # a container's start; sets ADDRESS and LINK
	ADDRESS=$(address "${1:-}")
	create_endpoint "$ADDRESS"
	LINK=$(join | jq -r .InterfaceName.SrcName)
	call NetworkDriver.EndpointOperInfo "$(ids)"
}

leave() { call NetworkDriver.Leave "$(ids)"; }
delete_endpoint() { call NetworkDriver.DeleteEndpoint "$(ids)"; }

stop() {
	call NetworkDriver.RevokeExternalConnectivity "$(ids)"
	leave
	delete_endpoint
	release "$ADDRESS"
}

# ---- what there is ------------------------------------------------------------------

knows() { # knows ENDPOINTS: the network is there, with so many
	control_get /v1/status | jq -e ".networks[] | select(.id == \"$NET\") | .endpoints == $1" >/dev/null
}

is_unknown() {
	control_get /v1/status | jq -e "[.networks[] | select(.id == \"$NET\")] == []" >/dev/null &&
		host test ! -e "/run/fairlead/netns/fl-${NET:0:12}" &&
		! host ip link show "flu${NET:0:12}" >/dev/null 2>&1
}

is_published() { # is_published PORT
	host nft list map inet fairlead publish4 | grep -q "tcp \. $1 :"
}

# ---- registration --------------------------------------------------------------------

@test "registration: both drivers, local, replay wanted; every call may come twice" {
	for _ in 1 2; do
		[[ $(call Plugin.Activate | jq -c .Implements) == '["NetworkDriver","IpamDriver"]' ]]
		[[ $(call NetworkDriver.GetCapabilities | jq -r .Scope) == local ]]
		[[ $(call IpamDriver.GetCapabilities | jq -r .RequiresRequestReplay) == true ]]
		[[ $(call IpamDriver.GetDefaultAddressSpaces | jq -r '.LocalDefaultAddressSpace + " " + .GlobalDefaultAddressSpace') == \
			"fairlead-local fairlead-global" ]]
		[[ $(call NetworkDriver.GwAllocCheck '{"Options":{}}' | jq -c .) == '{"SkipIPv4":false,"SkipIPv6":false}' ]]
	done
}

@test "a request as dockerd 20.10 writes it: empty Host, no Content-Type, kept alive" {
	# shellcheck disable=SC2016 # perl's
	host perl -MIO::Socket::UNIX -e '
		my $s = IO::Socket::UNIX->new(Peer => "/run/docker/plugins/fairlead.sock") or die;
		for (1 .. 3) {
			print $s "POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n",
				"Content-Length: 0\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n";
			sysread($s, my $answer, 4096);
			$answer =~ /^HTTP\/1.1 200 .*NetworkDriver/s or die "answer: $answer";
			$answer !~ /Connection: close/i or die "closes";
		}'
}

# ---- orders of calls -------------------------------------------------------------------

@test "network create, run, stop, network rm" {
	create_network
	knows 0
	host test -e "/run/fairlead/netns/fl-${NET:0:12}"
	start
	[[ $ADDRESS == "$SUBNET.2/24" ]]
	[[ $(join | jq -r .Gateway) == "$SUBNET.1" ]]
	host ip link show "$LINK"
	publish 18080
	is_published 18080
	knows 1
	stop
	! is_published 18080 || false
	! host ip link show "$LINK" || false
	knows 0
	remove_network
	is_unknown
}

@test "docker restart: stop, then run with another endpoint and the same address" {
	create_network
	start
	first=$ADDRESS
	stop
	EP=$(id "other endpoint $BATS_TEST_NUMBER")
	start "${first%/*}"
	[[ $ADDRESS == "$first" ]]
	knows 1
	stop
	remove_network
}

@test "network create fails after CreateNetwork: delete, then release" {
	create_network
	call NetworkDriver.DeleteNetwork "{\"NetworkID\":\"$NET\"}"
	release "$SUBNET.1"
	release_pool
	is_unknown
	# The subnet is free again.
	create_network
	remove_network
}

@test "CreateNetwork refused: nothing of it stays, the addresses are released" {
	pool "$SUBNET.0/24"
	gateway >/dev/null
	fails mtu=big NetworkDriver.CreateNetwork "$(network_json '"com.docker.network.driver.mtu":"big"')"
	is_unknown
	release "$SUBNET.1"
	release_pool
	create_network
	remove_network
}

@test "IPAM fails half-way: the pool is released with what was taken of it" {
	pool "$SUBNET.0/24"
	gateway >/dev/null
	address >/dev/null
	release_pool
	pool "$SUBNET.0/24"
	[[ $(gateway) == "$SUBNET.1/24" ]]
	release_pool
}

@test "network rm in the order of 20.10.5, and releases that come late" {
	create_network
	start
	leave
	delete_endpoint
	call NetworkDriver.DeleteNetwork "{\"NetworkID\":\"$NET\"}"
	is_unknown
	release "$SUBNET.1"
	release_pool
	release "$ADDRESS" # after its pool, as 28.5 did
	release_pool
}

@test "a Join that failed is followed by two Leave, DeleteEndpoint, release" {
	create_network
	fails 'no such endpoint' NetworkDriver.Join "{\"NetworkID\":\"$NET\",\"EndpointID\":\"$EP\",
		\"SandboxKey\":\"/x\",\"Options\":{}}"
	ADDRESS=$(address)
	create_endpoint "$ADDRESS"
	leave
	leave
	delete_endpoint
	release "$ADDRESS"
	knows 0
	remove_network
}

@test "every call repeated: the same result" {
	create_network
	call NetworkDriver.CreateNetwork "$(network_json)"
	start
	mac=$(create_endpoint "$ADDRESS" | jq -r .Interface.MacAddress)
	[[ $mac == 02:42:* && $(create_endpoint "$ADDRESS" | jq -r .Interface.MacAddress) == "$mac" ]]
	[[ $(join | jq -r .InterfaceName.SrcName) == "$LINK" ]]
	[[ $(join | jq -r .InterfaceName.SrcName) == "$LINK" ]]
	publish 18081
	publish 18081
	is_published 18081
	[[ $(host nft list map inet fairlead publish4 | grep -o 18081 | wc -l) == 1 ]]
	knows 1
	for _ in 1 2; do
		call NetworkDriver.RevokeExternalConnectivity "$(ids)"
		leave
		delete_endpoint
		release "$ADDRESS"
		call NetworkDriver.EndpointOperInfo "$(ids)"
	done
	knows 0
	remove_network
	remove_network
	is_unknown
}

@test "unknown ids: Leave, Delete, Revoke, Release, Free succeed" {
	for method in Leave DeleteEndpoint RevokeExternalConnectivity EndpointOperInfo; do
		call "NetworkDriver.$method" "$(ids)"
	done
	for method in DeleteNetwork FreeNetwork; do
		call "NetworkDriver.$method" "{\"NetworkID\":\"$NET\"}"
	done
	POOL=fairlead-local/10.99.0.0/24
	release 10.99.0.7
	release_pool
	is_unknown
	fails 'no such network' NetworkDriver.CreateEndpoint "{\"NetworkID\":\"$NET\",
		\"EndpointID\":\"$EP\",\"Interface\":{\"Address\":\"10.99.0.2/24\"},\"Options\":{}}"
}

@test "no Revoke before Leave (29): the port is closed all the same" {
	create_network
	start
	publish 18082
	leave
	! is_published 18082 || false
	delete_endpoint
	remove_network
}

@test "a ghost: a new endpoint with the address of one that Docker forgot" {
	create_network
	start
	publish 18083
	ghost=$LINK
	EP=$(id "other endpoint $BATS_TEST_NUMBER")
	create_endpoint "$ADDRESS"
	join >/dev/null
	knows 1
	! is_published 18083 || false
	! host ip link show "$ghost" || false
	grep -q 'replaces one that Docker forgot' "$MACHINE_LOG/fairlead.log"
	stop
	remove_network
}

@test "replay at dockerd's start: what is known is confirmed, only then" {
	create_network
	start
	first=$POOL
	fails "$SUBNET" IpamDriver.RequestPool "{\"AddressSpace\":\"fairlead-local\",
		\"Pool\":\"$SUBNET.0/24\",\"SubPool\":\"\",\"Options\":{},\"V6\":false}"
	fails "${ADDRESS%/*}" IpamDriver.RequestAddress \
		"{\"PoolID\":\"$POOL\",\"Address\":\"${ADDRESS%/*}\",\"Options\":null}"
	call NetworkDriver.GetCapabilities
	call IpamDriver.GetCapabilities
	pool "$SUBNET.0/24"
	[[ $POOL == "$first" ]]
	[[ $(address "$SUBNET.1") == "$SUBNET.1/24" ]]
	[[ $(address "${ADDRESS%/*}") == "$ADDRESS" ]]
	fails "${ADDRESS%/*}" IpamDriver.RequestAddress \
		"{\"PoolID\":\"$POOL\",\"Address\":\"${ADDRESS%/*}\",\"Options\":null}"
	knows 1
	stop
	remove_network
}

@test "a swarm's leader: global space, serial, AllocateNetwork; asked again after a restart" {
	serial='"com.docker.network.ipam.serial":"true"'
	for _ in 1 2; do
		POOL=$(call IpamDriver.RequestPool "{\"AddressSpace\":\"fairlead-global\",\"Pool\":\"$SUBNET.0/24\",
			\"SubPool\":\"\",\"Options\":null,\"V6\":false}" | jq -r .PoolID)
		[[ $(call IpamDriver.RequestAddress "{\"PoolID\":\"$POOL\",\"Address\":\"$SUBNET.1\",
			\"Options\":{\"RequestAddressType\":\"com.docker.network.gateway\",$serial}}" | jq -r .Address) == "$SUBNET.1/24" ]]
		call NetworkDriver.AllocateNetwork "{\"NetworkID\":\"7ee4pry7fjisyfrtpajyvd645\",\"Options\":
			{\"user-opt\":\"v\"},\"IPv4Data\":[{\"AddressSpace\":\"\",\"Gateway\":\"$SUBNET.1/24\",
			\"Pool\":\"$SUBNET.0/24\"}],\"IPv6Data\":null}" | jq -e '.Options["user-opt"] == "v"'
		call NetworkDriver.GetCapabilities
		call IpamDriver.GetCapabilities
	done
	for _ in 1 2 3; do
		given+=("$(call IpamDriver.RequestAddress "{\"PoolID\":\"$POOL\",\"Address\":\"\",
			\"Options\":{$serial}}" | jq -r .Address)")
		release "${given[-1]}" # and yet not given again at once
	done
	[[ $(printf '%s\n' "${given[@]}" | sort -u | wc -l) == 3 ]]
	# The node's own requests for the same subnet are in the local space.
	NET=7ee4pry7fjisyfrtpajyvd645
	create_network
	remove_network
	call NetworkDriver.FreeNetwork "{\"NetworkID\":\"$NET\"}"
}

@test "pools that are asked for without a subnet: each another one" {
	for _ in 1 2 3; do
		pool ''
		pools+=("$POOL")
	done
	[[ $(printf '%s\n' "${pools[@]}" | sort -u | wc -l) == 3 ]]
	for POOL in "${pools[@]}"; do release_pool; done
}

@test "40 addresses asked for at once: all distinct" {
	pool "$SUBNET.0/24"
	for _ in {1..40}; do
		address >>"$BATS_TEST_TMPDIR/addresses" &
	done
	wait
	[[ $(sort -u "$BATS_TEST_TMPDIR/addresses" | wc -l) == 40 ]]
	release_pool
}

@test "values as bool or as text, null for lists, keys that nobody knows" {
	pool "$SUBNET.0/24"
	gateway >/dev/null
	call NetworkDriver.CreateNetwork "{\"NetworkID\":\"$NET\",\"Options\":{
		\"com.docker.network.enable_ipv6\":\"false\",\"com.docker.network.internal\":\"true\",
		\"com.docker.network.enable_ipv4\":true,\"com.docker.network.generic\":null},
		\"IPv4Data\":[{\"AddressSpace\":\"fairlead-local\",\"AuxAddresses\":{},\"Gateway\":\"$SUBNET.1/24\",
		\"Pool\":\"$SUBNET.0/24\"}],\"IPv6Data\":null,\"Future\":[1,{}]}"
	control_get /v1/status | jq -e ".networks[] | select(.id == \"$NET\") | .internal"
	ADDRESS=$(address)
	create_endpoint "$ADDRESS"
	join | jq -e '.Gateway == null'
	leave
	delete_endpoint
	remove_network
}

# ---- broken requests ---------------------------------------------------------------------

@test "an empty body, as repeats have, is refused by all that need one" {
	create_network
	start
	for method in NetworkDriver.{AllocateNetwork,FreeNetwork,CreateNetwork,DeleteNetwork} \
		NetworkDriver.{CreateEndpoint,DeleteEndpoint,EndpointOperInfo,Join,Leave} \
		NetworkDriver.{ProgramExternalConnectivity,RevokeExternalConnectivity} \
		NetworkDriver.{DiscoverNew,DiscoverDelete} \
		IpamDriver.{RequestPool,ReleasePool,RequestAddress,ReleaseAddress}; do
		fails 'no body' "$method"
		[[ $(http_status "$method" -X POST) == 400 ]]
	done
	knows 1
	stop
	remove_network
}

@test "bad JSON, bad values, missing keys: 400, the method and the reason in both keys" {
	create_network
	while read -r method body; do
		[[ $(http_status "$method" -X POST --data-binary "$body") == 400 ]]
		jq -e --arg m "$method" '.Err == .Error and (.Err | startswith($m))' "$BATS_TEST_TMPDIR/body"
	done <<-END
		NetworkDriver.CreateNetwork {
		NetworkDriver.CreateNetwork []
		NetworkDriver.CreateNetwork {"NetworkID":7}
		NetworkDriver.CreateNetwork {"NetworkID":"../../etc","Options":{},"IPv4Data":[],"IPv6Data":[]}
		NetworkDriver.CreateEndpoint {"NetworkID":"$NET","EndpointID":"$EP","Interface":{"Address":"10.0.0.1.2/24"}}
		NetworkDriver.CreateEndpoint {"NetworkID":"$NET","EndpointID":"$EP","Interface":{"Address":"$SUBNET.2/33"}}
		NetworkDriver.Join {"NetworkID":"$NET"}
		NetworkDriver.Leave {"NetworkID":"$NET","EndpointID":null}
		IpamDriver.RequestPool {"AddressSpace":"fairlead-local","Pool":7}
		IpamDriver.RequestAddress {"PoolID":["x"]}
	END
	knows 0
	remove_network
}

@test "unknown methods 404, GET 405, too much 413; the server goes on" {
	[[ $(http_status NetworkDriver.Explode -X POST -d '{}') == 404 ]]
	jq -e '.Err == .Error and (.Err | contains("Explode"))' "$BATS_TEST_TMPDIR/body"
	[[ $(http_status NetworkDriver.Leave) == 405 ]]
	host sh -c 'head -c 20000000 /dev/zero >/tmp/big.$$; mv /tmp/big.$$ /run/big'
	[[ $(http_status NetworkDriver.CreateNetwork -X POST --data-binary @/run/big -H Expect:) == 413 ]]
	jq -e '.Err == .Error' "$BATS_TEST_TMPDIR/body"
	host rm /run/big
	call Plugin.Activate
}

@test "connections that send nothing, or break off, disturb nobody" {
	create_network
	# shellcheck disable=SC2016 # perl's
	host perl -MIO::Socket::UNIX -e '
		sub dial { IO::Socket::UNIX->new(Peer => "/run/docker/plugins/fairlead.sock") or die }
		my @idle = map { dial() } 1 .. 20;
		for (1 .. 20) {
			my $s = dial();
			print $s "POST /NetworkDriver.DeleteNetwork HTTP/1.1\r\nHost: \r\nContent-Length: 1000\r\n\r\n{\"Netw";
			close $s;
		}'
	knows 0
	remove_network
}

# ---- the end of fairlead -------------------------------------------------------------------

@test "SIGTERM: requests under way are done and answered, connections closed" {
	# So many networks at once keep the kernel's side busy for a while.
	# shellcheck disable=SC2016 # perl's
	host perl -MIO::Socket::UNIX -e '
		my ($pid) = @ARGV;
		my @sockets;
		for my $n (1 .. 25) {
			my $body = sprintf("{\"NetworkID\":\"%02dstop\",\"Options\":{},\"IPv4Data\":[{\"AddressSpace\":" .
				"\"other\",\"Gateway\":\"10.240.%d.1/24\",\"Pool\":\"10.240.%d.0/24\"}],\"IPv6Data\":[]}", $n, $n, $n);
			my $s = IO::Socket::UNIX->new(Peer => "/run/docker/plugins/fairlead.sock") or die;
			print $s "POST /NetworkDriver.CreateNetwork HTTP/1.1\r\nHost: \r\nContent-Length: ",
				length($body), "\r\n\r\n", $body;
			$s->flush;
			push @sockets, $s;
		}
		sysread($sockets[$_], my $first, 4096) for 0 .. 2; # so it has read all
		kill "TERM", $pid;
		local $/;
		my $closed = 0;
		for my $s (@sockets[3 .. $#sockets]) {
			my $answer = <$s>;
			$answer =~ /^HTTP\/1.1 200 .*\{\}/s or die "answer: $answer";
			$closed += $answer =~ /Connection: close/i;
		}
		print "$closed answered after SIGTERM\n";
		$closed > 0 or die;
	' "$(<"$MACHINE_DIR/fairlead.pid")"
	[[ $(machine_ended "$MACHINE" fairlead 5) == 0 ]]
	host test ! -e /run/docker/plugins/fairlead.sock
	fairlead_start
	[[ $(control_get /v1/status | jq '[.networks[] | select(.sandbox == "ok")] | length') == 25 ]]
	for n in {01..25}; do call NetworkDriver.DeleteNetwork "{\"NetworkID\":\"${n}stop\"}"; done
}

@test "after SIGKILL all that was answered is still there" {
	create_network
	start
	fairlead_kill
	fairlead_start
	knows 1
	[[ $(join | jq -r .InterfaceName.SrcName) == "$LINK" ]]
	next=$(address)
	[[ $next == "$SUBNET."* && $next != "$ADDRESS" ]]
	stop
	remove_network
	[[ $(control_get /v1/status | jq '.networks | length') == 0 ]]
}
