#!/usr/bin/env bash
# Measures the store on this machine's disk, from any folder, on a fresh machine too:
#
#   tools/bench.sh [arguments of holdfast-bench run...]    beside a bare log, in one process
#   tools/bench.sh curves --plot FILE.svg                  throughput, latency and cost under load, as a picture
#   tools/bench.sh load                                    durable enqueues at shares of the most that the store takes
#   tools/bench.sh micro                                   the parts of an operation, each by itself
#   tools/bench.sh command DIRECTORY                       the program holdfast: requests to its shell, its stat
#   tools/bench.sh --peers [options] [WORKLOAD...]         beside other systems, turn by turn, with one report
#
# Options with --peers:
#   --only "NAME..."   of sqlite redis beanstalkd rocksdb postgres nats (all)
#   --quick            a second each, a hundred thousand jobs waiting at most
#   --rounds N         how often everything runs, at least 2 (2)
#   --seconds N        how long each is measured (3)
#   --callers N        callers at once where there are many (64)
#   --payload N        bytes of a payload (256)
#   --backlog N        jobs waiting at most in W4 and W5 (1000000)
#   --json             lines of JSON: what was measured, then the report
# Workloads are W1 W1b W2 W3 W3b W4 W5; `tools/bench.sh --help-workloads` says what they are.
#
# Systems that are missing are installed (Debian's packages), without starting them as services. Each is started on a
# free loopback port, with its files in a directory of its own and durability as Holdfast's: an answer means synced.
# Where a system can't do that, the report says so. All that was started ends with the run, all files are removed.
# TMPDIR chooses the disk. Exits with 1 when a check or a run failed.
set -euo pipefail
help() { sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '$d'; }
case "${1:-}" in -h | --help) help; exit 0 ;; esac
called_from=$PWD
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

# Builds holdfast-bench, the program that it starts, and what else is named.
build_bench() {
    local log product
    log=$(mktemp)
    say "Building"
    for product in holdfast-bench holdfast-bench-opener "$@"; do
        swift build -c release --product "$product" >"$log" 2>&1 || { cat "$log" >&2; rm "$log"; die "the build"; }
    done
    rm "$log"
    bench=$(swift build -c release --show-bin-path)/holdfast-bench
}

# Becomes holdfast-bench, where this was called: what its arguments name is there.
run_bench() {
    cd "$called_from"
    exec "$bench" "$@"
}

case "${1:-}" in
    --peers) ;;
    --help-workloads) build_bench; run_bench run --help ;;
    command) build_bench holdfast; run_bench "$@" ;;
    run | load | curves | micro | churn | backlog | help) build_bench; run_bench "$@" ;;
    *) build_bench; run_bench run "$@" ;;
esac
shift

# ---------------------------------------------------------------------------------------------------------------------

peers="sqlite redis beanstalkd rocksdb postgres nats" workloads="" rounds=2 seconds=3 warm_up=0.5 callers=64 payload=256
backlog=1000000 json=0
while [ $# -gt 0 ]; do
    case $1 in
        --quick) seconds=1 warm_up=0.3 backlog=100000 ;;
        --json) json=1 ;;
        --only | --rounds | --seconds | --callers | --payload | --backlog)
            [ $# -gt 1 ] || die "$1 needs a value"
            case $1 in
                --only) peers=$2 ;;
                --rounds) rounds=$2 ;;
                --seconds) seconds=$2 ;;
                --callers) callers=$2 ;;
                --payload) payload=$2 ;;
                --backlog) backlog=$2 ;;
            esac
            shift
            ;;
        W1 | W1b | W2 | W3 | W3b | W4 | W5) workloads="$workloads $1" ;;
        *) help >&2; exit 64 ;;
    esac
    shift
done
[ "$(uname -s)" = Linux ] || die "--peers needs Linux"
[ "$rounds" -ge 2 ] 2>/dev/null || die "--rounds must be 2 or more: one run proves nothing"
[ -n "$workloads" ] || workloads="W1 W1b W2 W3 W3b W4 W5"
# A restart needs the backlog that was left.
case " $workloads " in *" W5 "*) case " $workloads " in *" W4 "*) ;; *) workloads="$workloads W4" ;; esac ;; esac

# The packages of each: a server and what its client is built with.
packages_of() {
    case $1 in
        sqlite) echo libsqlite3-dev ;;
        redis) echo redis-server libhiredis-dev ;;
        beanstalkd) echo beanstalkd ;;
        rocksdb) echo librocksdb-dev ;;
        postgres) echo postgresql libpq-dev ;;
        nats) echo nats-server libnats-dev ;;
        *) die "there is no peer $1" ;;
    esac
}

install_peers() {
    local peer package missing=()
    for peer in $peers; do
        for package in $(packages_of "$peer"); do
            dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
        done
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null 2>&1 || die "These are missing: ${missing[*]}. Install them and run this again."
    # Debian starts servers when it installs them, unless this forbids it.
    local policy=/usr/sbin/policy-rc.d made=false
    if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=true
    fi
    install_debian "${missing[@]}"
    if $made; then rm "$policy"; fi
}

build_peer() {
    local peer=$1 flags=() source=tools/bench/peers
    case $peer in
        sqlite) flags=(-lsqlite3) ;;
        redis) flags=(-lhiredis) ;;
        rocksdb) flags=(-lrocksdb) ;;
        postgres) flags=(-I "$(pg_config --includedir)" -lpq) ;;
        nats) flags=(-lnats) ;;
    esac
    cc -O2 -std=gnu11 -Wall -Wextra -Werror -o "$clients/$peer" "$source/$peer.c" "$source/driver.c" \
        "$source/support.c" tools/bench/payload/payload.c -I tools/bench/payload/include "${flags[@]}" -lpthread
}

for peer in $peers; do packages_of "$peer" >/dev/null; done
install_peers
build_bench
clients=.build/peers
mkdir -p "$clients"
for peer in $peers; do build_peer "$peer" || die "the client of $peer can't be built"; done
PATH=$PATH:/usr/sbin
POSTGRES_PROGRAMS=$(pg_config --bindir 2>/dev/null || true)
export PATH POSTGRES_PROGRAMS

place=$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-peers.XXXXXX")
# PostgreSQL works as a user of its own.
chmod 755 "$place"
child=
cleanup() {
    # A server dies with the client that started it.
    if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; fi
    rm -rf "$place"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
case $(stat -f -c %T "$place") in
    tmpfs | ramfs) die "$place is in memory, not on a disk: set TMPDIR" ;;
esac

# ---------------------------------------------------------------------------------------------------------------------

failed=0
# Runs one program on one workload; its lines go to the report: one ROUND COMMAND...
one() {
    local round=$1
    shift
    timeout 600 "$@" >"$place/lines" 2>"$place/errors" &
    child=$!
    if ! wait "$child"; then
        failed=1
        say "FAILED: $*"
        tail -n 5 "$place/errors" "$place/store.log" >&2 2>/dev/null || true
    fi
    child=
    sed "s/^{/{\"round\":$round,/" "$place/lines" | tee -a "$place/all" |
        if [ $json = 1 ]; then cat; else cat >/dev/null; fi
}

holdfast() {
    local round=$1 also=()
    shift
    # Threads and one commit for two steps are other ways to do the same work.
    case $1 in W2) also=(W2-threads) ;; W3) also=(W3-threads W3-next) ;; W4) also=() ;; esac
    one "$round" "$bench" run --json -d "$place/store" -p "$payload" -s "$seconds" -u "$warm_up" -c "$callers" \
        -n "$backlog" "$@" "${also[@]}"
}

client() {
    local round=$1 peer=$2 mode=$3
    shift 3
    one "$round" "$clients/$peer" -d "$place/store" -p "$payload" -s "$seconds" -u "$warm_up" -c "$callers" \
        -n "$backlog" -m "$mode" "$@"
}

clear_store() { rm -rf "$place/store" "$place"/store.*; }

run_workload() {
    local round=$1 workload=$2 peer restart=false
    if [ "$workload" = W4 ]; then case " $workloads " in *" W5 "*) restart=true ;; esac; fi
    say "  round $round: $workload"
    if $restart; then holdfast "$round" W4 W5; else holdfast "$round" "$workload"; fi
    clear_store
    if [ "$workload" = W4 ]; then holdfast "$round" W4-next; clear_store; fi
    for peer in $peers; do
        client "$round" "$peer" "" "$workload"
        if $restart; then client "$round" "$peer" "" W5; fi
        clear_store
        case $peer-$workload in
            sqlite-W2 | sqlite-W3 | sqlite-W3b | rocksdb-W2 | rocksdb-W3 | rocksdb-W3b)
                client "$round" "$peer" group "$workload"
                clear_store
                ;;
        esac
    done
}

machine() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1; }
if [ $json = 1 ]; then
    printf '{"machine":"%s","processors":%s,"kernel":"%s","file_system":"%s","load1":%s}\n' "$(machine)" "$(nproc)" \
        "$(uname -r)" "$(stat -f -c %T "$place")" "$(cut -d ' ' -f 1 /proc/loadavg)"
else
    printf '%s, %s processors, Linux %s, %s, load %s\n' "$(machine)" "$(nproc)" "$(uname -r)" \
        "$(stat -f -c %T "$place")" "$(cut -d ' ' -f 1 /proc/loadavg)"
    printf 'Every answer means synced, but where it says otherwise. %s rounds of %s s, in turn.\n' "$rounds" "$seconds"
fi
: >"$place/all"
for round in $(seq "$rounds"); do
    for workload in $workloads; do
        [ "$workload" = W5 ] || run_workload "$round" "$workload"
    done
done
awk -v json=$json -f tools/bench/peers/report.awk "$place/all" || failed=1
[ $failed = 0 ] || die "a run or a check failed; the lines above say which"
