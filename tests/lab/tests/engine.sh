#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The engine layer's story on a kernel that has ip_vs, with an old and a new engine,
# each in machines of its own within the guest: services and published ports. The other
# files do not depend on balancer or engine so much that minutes of emulation are due;
# LAB_ENGINE_FILES="restart.bats ..." runs them by hand.
# lab: bookworm sid
# shellcheck source=/dev/null
. "$ROOT/tests/lab/testlib.bash"

"$ROOT/tests/image.sh" >/dev/null
"$LAB" put "$NODE" "$ROOT/tests/engine" /root/fairlead/tests/engine
"$LAB" put "$NODE" "$ROOT/tests/image.sh" /root/fairlead/tests/image.sh
"$LAB" put "$NODE" "$ROOT/tests/lab/src" /root/fairlead/tests/lab/src
"$LAB" put "$NODE" "$ROOT/build/test-image" /root/fairlead/build/test-image
read -ra files <<<"${LAB_ENGINE_FILES:-services.bats ports.bats}"
tap_of "engine tests" guest sh -c '
	cd /root/fairlead/tests/engine
	FAIRLEAD=/usr/local/bin/fairlead exec bats --formatter tap "$@"' \
	sh "${files[@]}"
finish
