#!/usr/bin/env bash
# systemd accepts the unit, with the programs of this build in the places where the image has them.
# timeout: 60
set -u
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
unit=$TEST_DIR/millraced.service
daemon=$(find "$MILLRACE_BUILD" -type f -name millraced -perm -u+x | head -n 1)
cli=$(find "$MILLRACE_BUILD" -type f -name millrace -perm -u+x | head -n 1)
sed -e "s#/usr/sbin/millraced#$daemon#" -e "s#/usr/bin/millrace #$cli #" "$repo/board/systemd/millraced.service" >"$unit"
echo 1..3
[[ -n $daemon && -n $cli ]] && echo "ok 1 - the build has the programs that the unit starts" ||
	echo "not ok 1 - the build has the programs that the unit starts"
if said=$(systemd-analyze verify --man=no "$unit" 2>&1) && [[ -z $said ]]; then
	echo "ok 2 - systemd-analyze verify accepts millraced.service"
else
	echo "not ok 2 - systemd-analyze verify accepts millraced.service"
	sed 's/^/# /' <<<"$said"
fi
# The check can fail.
sed -e 's/^Type=.*/Type=sometimes/' "$unit" >"$TEST_DIR/broken.service"
if said=$(systemd-analyze verify --man=no "$TEST_DIR/broken.service" 2>&1) && [[ -z $said ]]; then
	echo "not ok 3 - a broken unit is refused"
else
	echo "ok 3 - a broken unit is refused"
fi
