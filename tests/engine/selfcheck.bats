# SPDX-License-Identifier: GPL-2.0-or-later
# The engine tests' own ground: machine, engine, image, outside client, and
# that nothing is left of them.

load engine

# All that a machine could leave on the host, one line each.
traces() {
	local ns=$1 name=$2
	[[ ! -e $MACHINES/$name ]] || echo "folder $name"
	find /proc/[0-9]*/ns -maxdepth 1 \( -name pid -o -name net -o -name mnt \) \
		-printf '%l %p\n' 2>/dev/null | grep -F "$ns" || true
	grep -F "$name" /proc/mounts || true
	machine_cgroups "$name"
	ip netns list | grep -F "$name" || true
}

runs() { [[ $(docker inspect -f '{{.State.Running}}' "$1") == true ]]; }

setup_file() {
	# The host's own engine must not notice anything.
	export DOCKER0_BEFORE HOST_TABLES_BEFORE
	DOCKER0_BEFORE=$(ip -o addr show docker0 2>/dev/null || true)
	HOST_TABLES_BEFORE=$(nft list tables)
	engine_start
	engine_image
}

teardown_file() { engine_cleanup; }
teardown() { engine_logs_on_failure; }

@test "the machine has its own network, processes, name and sysfs" {
	[[ $(host hostname) == "$MACHINE" ]]
	[[ $(host sh -c 'echo /sys/class/net/*') == *docker0* ]]
	[[ $(host cat /proc/1/comm) == docker-init ]]
}

@test "a container of the image runs on Docker's default bridge" {
	[[ $(docker run --rm fairlead-test echo hello) == hello ]]
	docker run -d --name web fairlead-test okhttpd 80 web
	addr=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' web)
	[[ $(docker run --rm fairlead-test okhttpd get "$addr" 80) == "web 172.17."* ]]
	docker rm -f web
}

@test "the outside client and the machine reach each other" {
	outside ping -c 1 -W 2 192.0.2.1
	outside ping -c 1 -W 2 2001:db8:2::1
	host ping -c 1 -W 2 192.0.2.9
}

@test "a published port is reached from outside, over IPv4" {
	docker run -d --name web -p 8080:80 fairlead-test okhttpd 80 web
	wait_until 5 outside "$("$TESTS_ROOT/tests/image.sh" okhttpd)" get 192.0.2.1 8080
	[[ $(outside curl -s http://192.0.2.1:8080/) == "web 192.0.2.9" ]]
	docker rm -f web
}

@test "the engine goes on after SIGKILL, with its data" {
	docker run -d --name stays --restart always fairlead-test
	engine_kill
	engine_start
	[[ $(docker inspect -f '{{.Name}}' stays) == /stays ]]
	wait_until 10 runs stays
	docker rm -f stays
}

@test "a restart takes new options" {
	engine_stop
	engine_start --live-restore
	docker run -d --name lives fairlead-test
	pid=$(docker inspect -f '{{.State.Pid}}' lives)
	engine_restart
	[[ $(docker inspect -f '{{.State.Pid}}' lives) == "$pid" ]]
	docker rm -f lives
}

@test "after the cleanup nothing is left" {
	docker run -d --name left fairlead-test
	local name=$MACHINE ns
	ns=$(host readlink /proc/self/ns/pid)
	[[ -n $(traces "$ns" "$name") ]]
	engine_cleanup
	[[ -z $(traces "$ns" "$name") ]]
	[[ $(ip -o addr show docker0 2>/dev/null || true) == "$DOCKER0_BEFORE" ]]
	[[ $(nft list tables) == "$HOST_TABLES_BEFORE" ]]
}
