# Progress and failure, spoken alike by every script under board/. Sourced, never run.
#
#   say TEXT      one step of the work, on standard output
#   note TEXT     a detail of that step
#   warn TEXT     something the operator should know; the work goes on
#   die TEXT...   says what failed and what to do about it, one argument a line, and ends the script
#   logged FILE CMD...  runs CMD with its output in FILE; on failure shows the end of FILE

if [[ -t 1 ]]; then
	_bold=$'\e[1m' _dim=$'\e[2m' _red=$'\e[31m' _yellow=$'\e[33m' _plain=$'\e[0m'
else
	_bold='' _dim='' _red='' _yellow='' _plain=''
fi

say() { printf '%s==>%s %s\n' "$_bold" "$_plain" "$*"; }
note() { printf '    %s%s%s\n' "$_dim" "$*" "$_plain"; }
warn() { printf '%swarning:%s %s\n' "$_yellow" "$_plain" "$*" >&2; }

die() {
	local line first=1
	for line in "$@"; do
		if ((first)); then
			printf '%sfailed:%s %s\n' "$_red" "$_plain" "$line" >&2
		else
			printf '        %s\n' "$line" >&2
		fi
		first=0
	done
	exit 1
}

logged() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null && return 0
	local status=$?
	printf '%s--- the last lines of %s:%s\n' "$_red" "$log" "$_plain" >&2
	tail -n 30 "$log" >&2
	return "$status"
}
