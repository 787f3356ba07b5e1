# Progress and failure, spoken alike by every script under board/. Sourced, never run.
#
#   say TEXT      one step of the work, on standard output
#   note TEXT     a detail of that step
#   warn TEXT     something the operator should know; the work goes on
#   die TEXT...   says what failed and what to do about it, one argument a line, and ends the script
#   wrong_usage TEXT...  as die, for arguments that make no sense: status 2
#   help_if_asked SCRIPT "$@"  prints the comment at the head of SCRIPT and ends it when an argument is --help or -h
#   compiled LOG CMD...  runs ninja with its output in LOG and shows how far it is: one line that changes on a terminal,
#                        a line now and then elsewhere
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

wrong_usage() {
	(die "$@") || exit 2
}

help_if_asked() {
	local script=$1 argument
	shift
	for argument in "$@"; do
		[[ $argument == --help || $argument == -h ]] || continue
		awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$script"
		exit 0
	done
}

_show_progress() {
	local line state='' began=$SECONDS said=$SECONDS status width=${COLUMNS:-80}
	[[ -t 1 ]] && width=$(tput cols 2>/dev/null || echo 80)
	while :; do
		status=0
		IFS= read -r -t 2 line || status=$?
		((status == 0 || status > 128)) || break
		((status == 0)) && [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] && state="${BASH_REMATCH[1]} of ${BASH_REMATCH[2]} steps"
		if [[ -t 1 ]]; then
			line="    ${state:-starting}, $((SECONDS - began)) s"
			printf '\r\e[K%s' "${line:0:width}"
		elif ((SECONDS - said >= 15)); then
			said=$SECONDS
			note "${state:-starting}, $((SECONDS - began)) s"
		fi
	done
	[[ -t 1 ]] && printf '\r\e[K'
	return 0
}

compiled() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	"$@" 2>&1 </dev/null | tee "$log" | _show_progress
	return "${PIPESTATUS[0]}"
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
