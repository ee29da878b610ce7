# SPDX-License-Identifier: GPL-2.0-or-later
# The README's Compose file, with Compose itself: replicas share a port and a VIP, and
# scaling is followed. The image is the tests' own; nothing else is changed.

load engine

setup_file() {
	command -v docker-compose >/dev/null || skip "docker-compose is not on this machine"
	engine_start
	engine_image
	fairlead_start
	export COMPOSE_FILE=$BATS_FILE_TMPDIR/compose.yml COMPOSE_PROJECT_NAME=shop
	# The tests' image in place of nginx; version: this Compose wants it for `deploy`.
	{
		echo 'version: "3.8"'
		sed -n '/^```yaml$/,/^```$/p' "$TESTS_ROOT/README.md" | sed '/^```/d; s/nginx/fairlead-test/'
	} >"$COMPOSE_FILE"
	docker-compose up -d --scale web=3
	docker run -d --name client --network shop_app fairlead-test sleep 1000
}

teardown_file() { engine_cleanup; }
teardown() { engine_logs_on_failure; }

web() { # web FILTER: of the service's status
	control_get /v1/status | jq -e ".networks[].services[] | select(.name == \"web\") | $1"
}

active() { [[ $(web '[.backends[] | select(.state == "active")] | length') == "$1" ]]; }

@test "a service of Compose is a service with one VIP and one port" {
	wait_until 10 active 3
	[[ $(web .project) == '"shop"' ]]
	[[ $(web '.ports | length') == 1 && $(web '.ports[0]') == '"*:8080->80/tcp"' ]]
}

@test "its name leads to the VIP, and the VIP to all replicas" {
	vip=$(web '.vip[0]' | tr -d '"')
	[[ $(docker exec client nslookup web) == *"Address: $vip"* ]]
	[[ $(docker exec client okhttpd get "$vip" 80 6 | cut -d' ' -f1 | sort -u | wc -l) == 3 ]]
}

@test "the published port leads to all replicas, with the client's address" {
	okhttpd=$("$TESTS_ROOT/tests/image.sh" okhttpd)
	answers=$(outside "$okhttpd" get 192.0.2.1 8080 6)
	[[ $(cut -d' ' -f1 <<<"$answers" | sort -u | wc -l) == 3 ]]
	[[ $(cut -d' ' -f2 <<<"$answers" | sort -u) == 192.0.2.9 ]]
}

@test "a scheduler that the balancer lacks is an error in the status, not a failure" {
	# the README's label says lc, which nft does not know
	if [[ $(web .balancer) == '"nft"' ]]; then
		[[ $(web '.errors[0]') == *lc* && $(web .scheduler) == '"rr"' ]]
	else
		[[ $(web .scheduler) == '"lc"' ]]
	fi
}

@test "scaling down and up is followed, the VIP stays" {
	vip=$(web '.vip[0]')
	docker-compose up -d --scale web=1
	wait_until 10 active 1
	docker-compose up -d --scale web=4
	wait_until 10 active 4
	[[ $(web '.vip[0]') == "$vip" ]]
}

@test "down leaves nothing" {
	docker rm -f client
	docker-compose down
	[[ $(control_get /v1/status | jq '.networks | length') == 0 ]]
	[[ -z $(host sh -c 'ls /run/fairlead/netns') ]]
	! host ip -br link | grep -E '^fl'
}
