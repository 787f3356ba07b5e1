#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Every test that ROWS.md names is there, and every row has one but those that say why not.
cd "$(dirname "$0")/.." || exit 1
missing=0
tests=$(grep -rhoE '^static void [A-Za-z0-9_]+\(void \*\*state\)' --include='*.c' . | sed 's/static void //; s/(.*//')
for name in $(tr '`' '\n' <smtp/ROWS.md | grep -E '^[A-Za-z0-9]+_[A-Za-z0-9_]+$' | sort -u); do
	case "
$tests
" in
	*"
$name
"*) continue ;;
	esac
	echo "# not there: $name"
	missing=1
done
for row in $(seq -f 'S%g' 1 23) $(seq -f 'C%g' 1 15); do
	[ "$row" = C13 ] && continue
	grep -qE "^\\| $row .*[a-z0-9]_[a-z0-9_]+" smtp/ROWS.md && continue
	echo "# no test: $row"
	missing=1
done
echo 1..1
[ "$missing" = 0 ] || printf 'not '
echo 'ok 1 - every_row_has_a_test'
