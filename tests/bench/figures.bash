# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# Samples of figures that are compared within one run, and their table.
#
#   figures_init DIR              keeps samples and rows in a folder
#   section TITLE A B             what A and B are in the rows that follow
#   row KEY UNIT AIM TITLE        a row; AIM as "<=1.10", ">=0.95" or "-": of B/A
#   sample KEY A|B VALUE          one value of a row
#   rounds_begin COUNT SECONDS / while round_next; do ...
#                                 COUNT rounds, fewer (but two) when time is up
#   timed CMD...                  runs a command; its milliseconds are in $took
#   table                         medians (lowest..highest), ratios, aims
#
# A round takes A and B one after the other, so that what else the machine does
# hits both; the ratio is the median of the rounds' ratios.

took=0 round=0 rounds_max=0 rounds_end=0

figures_init() {
	FIGURES=$1
	: >"$FIGURES/samples"
	: >"$FIGURES/rows"
}

section() { printf 'section\t%s\t%s\t%s\n' "$@" >>"$FIGURES/rows"; }
row() { printf 'row\t%s\t%s\t%s\t%s\n' "$@" >>"$FIGURES/rows"; }
sample() { printf '%s\t%s\t%s\n' "$@" >>"$FIGURES/samples"; }

rounds_begin() { round=-1 rounds_max=$1 rounds_end=$((SECONDS + $2)); }

round_next() {
	((++round < rounds_max)) && ((round < 2 || SECONDS < rounds_end))
}

timed() {
	local start=${EPOCHREALTIME/[.,]/} us
	"$@"
	us=$((${EPOCHREALTIME/[.,]/} - start))
	took=$((us / 1000)).$(printf '%03d' $((us % 1000)))
}

table() {
	awk -F '\t' '
	function sorted(list, out,   n, i, j, v, part) {
		n = split(list, part, " ")
		for (i = 1; i <= n; i++) {
			v = part[i] + 0
			for (j = i; j > 1 && out[j - 1] > v; j--) out[j] = out[j - 1]
			out[j] = v
		}
		return n
	}
	function middle(v, n) { return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2 }
	function number(x) { return sprintf(x >= 1000 ? "%.0f" : x >= 10 ? "%.1f" : "%.2f", x) }
	function spread(list,   v, n) {
		n = sorted(list, v)
		return n ? sprintf("%s (%s..%s)", number(middle(v, n)), number(v[1]), number(v[n])) : "-"
	}
	function ratios(key,   a, b, n, i, out) {
		n = split(values[key, "A"], a, " ")
		if (split(values[key, "B"], b, " ") < n) n = length(b)
		for (i = 1; i <= n; i++) if (a[i] > 0) out = out " " b[i] / a[i]
		return out
	}
	# "noise": the rounds themselves disagree on which side of the aim they are
	function verdict(list, aim,   v, n, limit, met, low, high) {
		n = sorted(list, v)
		if (!n || aim == "-") return ""
		limit = substr(aim, 3) + 0
		met = substr(aim, 1, 2) == "<=" ? middle(v, n) <= limit : middle(v, n) >= limit
		low = v[int((n + 3) / 4)]; high = v[n + 1 - int((n + 3) / 4)]
		return (met ? "yes" : "NO") (low < limit && high > limit ? ", noise" : "")
	}
	NR == FNR { values[$1, $2] = values[$1, $2] " " $3; next }
	$1 == "section" {
		printf "\n%s\n  A: %s   B: %s\n", $2, $3, $4
		printf "  %-38s %-12s %-23s %-23s %-18s %-7s %s\n", "", "", "A", "B", "B/A", "aim", "met"
		next
	}
	{
		r = ratios($2)
		printf "  %-38s %-12s %-23s %-23s %-18s %-7s %s\n", $5, $3, spread(values[$2, "A"]),
			spread(values[$2, "B"]), spread(r), $4 == "-" ? "" : $4, verdict(r, $4)
	}' "$FIGURES/samples" "$FIGURES/rows"
}
