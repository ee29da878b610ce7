#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The manual pages and the sample configuration against the program: each setting of
# `fairlead serve --help` with its default in both, no setting that is gone, each command
# of `fairlead --help` in fairlead(8), and no complaint by man(1), where it is there.
# Usage: tests/lint-man.sh [PROGRAM]
set -euo pipefail
cd "$(dirname "$0")/.."

program=${1:-build/release/fairlead}
conf_page=packaging/man/fairlead.conf.5
main_page=packaging/man/fairlead.8
sample=packaging/fairlead.conf
bad=0
breach() { printf '%s\n' "$*"; bad=1; }

plain() { sed 's/\\~/ /g; s/\\-/-/g; s/\\f[BIR]//g; s/\\&//g' "$1"; }

# "NAME DEFAULT" for each setting
settings() {
	"$program" serve --help | awk '
		/^  --/ { name = substr($1, 3) }
		/^ +\(default: .*\)$/ {
			sub(/^ +\(default: /, ""); sub(/\)$/, "")
			if (name != "config") print name, $0
		}'
}

# The settings in a page: the tag lines of its section SETTINGS.
documented() {
	plain "$conf_page" | awk '
		/^\.SH/ { inside = /SETTINGS/ }
		inside && tag { print $2 }
		{ tag = /^\.TP/ }'
}

check_settings() {
	local name value entry count=0
	while read -r name value; do
		count=$((count + 1))
		entry=$(plain "$conf_page" | awk -v name="$name" '
			/^\.(TP|SH)/ { inside = 0 }
			index($0, " " name " = ") { inside = 1 }
			inside' || :)
		[[ -n $entry ]] || breach "$conf_page: no setting $name"
		awk -v value="$value" 'tag && $2 == value { found = 1 }
			{ tag = /^Default:$/ } END { exit !found }' <<<"$entry" ||
			breach "$conf_page: $name: the default is not $value"
		grep -qxF "#$name = $value" "$sample" ||
			breach "$sample: no line #$name = $value"
	done < <(settings)
	((count > 0)) || breach "$program serve --help: no settings"
	while read -r name; do
		settings | grep -q "^$name " || breach "$conf_page: unknown setting $name"
	done < <(documented)
	while read -r name; do
		settings | grep -q "^$name " || breach "$sample: unknown setting $name"
	done < <(sed -n 's/^#\([a-z][a-z-]*\) = .*/\1/p' "$sample")
}

check_commands() {
	local name count=0
	while read -r name; do
		count=$((count + 1))
		plain "$main_page" | grep -A1 '^\.TP' | grep -qxF ".B $name" ||
			breach "$main_page: no command $name"
	done < <("$program" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }')
	((count > 0)) || breach "$program --help: no commands"
}

check_version() {
	local page version
	version=$("$program" --version)
	for page in "$main_page" "$conf_page"; do
		grep -q "^\.TH .*\"$version\"" "$page" || breach "$page: not of $version"
	done
}

check_format() {
	local page out
	command -v man >/dev/null || { echo "skip: no man(1), formats are not checked"; return; }
	for page in "$main_page" "$conf_page"; do
		out=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings=all -E UTF-8 -l "$page" 2>&1 >/dev/null)
		[[ -z $out ]] || breach "$page: $out"
	done
}

[[ -x $program ]] || { echo "tests/lint-man.sh: no program $program"; exit 2; }
check_settings
check_commands
check_version
check_format
exit "$bad"
