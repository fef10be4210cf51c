#!/usr/bin/env bash
# Runs every test of the workspace against a real Redis and the published Python peer.
#
# It needs Rust and Python 3.11 or later: tests/setup.sh brings the rest, in tests/.env, on Debian
# and its kin. Elsewhere the tests of TLS need a redis-server that speaks it, which
# CLAMATOR_TLS_REDIS_SERVER names; they meet that one whichever server the others meet. It does not check formatting, lints or documentation (.ci/run does), and it starts
# no Redis itself: each test that needs one starts its own, on loopback.
#
#   tests/run.sh                                        everything, on one server
#   tests/run.sh --servers all                          everything, on one server after the other
#   tests/run.sh --servers redis-6.2,valkey-9           on these: redis-6.2, redis-7.0, valkey-9
#   tests/run.sh -p clamator-tests --test interop_wire  what `cargo test` is told instead
#   tests/run.sh --help                                 this text
#
# Options of this script come first; all that follows is told to `cargo test`, for each server. With
# nothing told, tests that start no server run once, with the first one.
#
# Which server it is without --servers, and which one speaks TLS, is tests/setup.sh's choice, and
# CLAMATOR_REDIS_SERVER and CLAMATOR_TLS_REDIS_SERVER name others. --servers and
# CLAMATOR_REDIS_SERVER exclude each other.
#
# The last line is `N passed, N failed`, of all servers. Before it stands how many scenarios passed
# on tokio, async-std and smol. The status is 0 only when, on each server, something ran, nothing
# failed, and the same scenarios passed on each runtime. What the tests leave running is ended and
# reported. CLAMATOR_TEST_SECONDS_MAX (default 3600) bounds the run of the tests on one server,
# without the build.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds_max=${CLAMATOR_TEST_SECONDS_MAX:-3600}
cd "$here/.."

say() { printf 'tests/run.sh: %s\n' "$*" >&2; }
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$here/run.sh"; }

list=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --servers)
        list=${2:-}
        [ $# -eq 1 ] || shift
        ;;
    --servers=*) list=${1#*=} ;;
    *) break ;;
    esac
    [ -n "$list" ] || {
        say "--servers needs a list, such as --servers all (tests/run.sh --help says more)"
        exit 2
    }
    shift
done
if [ -n "$list" ] && [ -n "${CLAMATOR_REDIS_SERVER:-}" ]; then
    say "--servers and CLAMATOR_REDIS_SERVER ($CLAMATOR_REDIS_SERVER) both say which server it is;"
    say "leave one of them out"
    exit 2
fi

command -v cargo >/dev/null 2>&1 || {
    say "cargo was not found on PATH. Install Rust (see rust-version in Cargo.toml for the oldest"
    say "that works) or add its bin folder to PATH, then run this again."
    exit 1
}
cargo --version >/dev/null || {
    say "cargo is on PATH but does not run; the lines above say why. (With rustup and another"
    say "HOME than usual, set RUSTUP_HOME and CARGO_HOME, or install a toolchain there.)"
    exit 1
}

if [ -z "$list" ]; then
    "$here/setup.sh"
    servers=
else
    prepared=$("$here/setup.sh" --servers "$list")
    printf '%s\n' "$prepared"
    # Lines such as `redis-6.2 6.2.14 /path/to/server`.
    servers=$(sed -n 's/^server \([^ ]*\) \([^ ]*\): /\1 \2 /p' <<<"$prepared")
fi
export CLAMATOR_REDIS_SERVER=$here/.env/redis-server
export CLAMATOR_TLS_REDIS_SERVER=$here/.env/redis-server-tls
# setup.sh has said what is missing; a test that needs it says so again.
[ -e "$CLAMATOR_TLS_REDIS_SERVER" ] || unset CLAMATOR_TLS_REDIS_SERVER
export CLAMATOR_PYTHON=$here/.env/python/bin/python
# A test that forgot to name its own Redis must not reach somebody's real one, and the Python
# programs must see the prepared packages only.
unset REDIS_URL PYTHONHOME PYTHONPATH
# Tests wait more than they work, so more of them run at once than there are processors.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-6}

# Prints the names of the integration tests that may start a server: those whose sources name the
# package that can, or the variable that says which one. To be in this list by mistake costs time,
# to be missing would cost coverage.
targets_with_server() {
    cargo metadata --locked --no-deps --format-version 1 | "$CLAMATOR_PYTHON" -I -c '
import json, pathlib, re, sys
for package in json.load(sys.stdin)["packages"]:
    for target in package["targets"]:
        source = pathlib.Path(target["src_path"])
        files = source.parent.rglob("*.rs") if source.name == "main.rs" else [source]
        text = "".join(file.read_text() for file in files) if target["kind"] == ["test"] else ""
        # What is simulated or fuzzed knows no server.
        shared = re.search(r"clamator_tests::(?!fuzz|seed|simulate)", text)
        if shared or "CLAMATOR_REDIS_SERVER" in text:
            print(target["name"])'
}

# What cargo is told for the first server, and for the others. The workspace stays selected, or
# cargo would build it once more with fewer features; a target of the same name in another package
# runs along.
if [ $# -gt 0 ]; then
    told=yes
    first=("$@")
    further=("$@")
else
    told=no
    first=(--workspace)
    further=(--workspace)
    if [ -n "$servers" ]; then
        targets=$(targets_with_server)
        for target in $targets; do further+=(--test "$target"); done
    fi
fi

# The whole build first, so that the time limit and the count are about tests. Building the tests
# also builds the programs and examples that they start.
cargo test --locked --no-run "${first[@]}"

scratch=$(mktemp -d)
tests_pid=
limit_pid=
tee_pid=

# Ends a process group and all that is in it. Fails when there was nothing left to end.
end_group() {
    kill -0 -- "-$1" 2>/dev/null || return 1
    kill -TERM -- "-$1" 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

# shellcheck disable=SC2329 # called by the trap
clean_up() {
    trap - EXIT
    if [ -n "$limit_pid" ]; then end_group "$limit_pid" || true; fi
    if [ -n "$tests_pid" ]; then end_group "$tests_pid" || true; fi
    if [ -n "$tee_pid" ]; then end_group "$tee_pid" || true; fi
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

mkfifo "$scratch/output"

# Runs the tests as cargo is told. Sets status, the numbers of count_tests, and remark to what the
# numbers do not show: that nothing ran, or that a test binary broke off.
run_tests() {
    # With job control on, each background job is a process group of its own, which takes in the
    # servers and peers that the tests start.
    set -m
    tee "$scratch/log" <"$scratch/output" &
    tee_pid=$!
    cargo test --locked --no-fail-fast "$@" </dev/null >"$scratch/output" 2>&1 &
    tests_pid=$!
    (
        sleep "$seconds_max"
        say "the tests did not end in $seconds_max s (CLAMATOR_TEST_SECONDS_MAX)"
        kill -TERM -- "-$tests_pid"
        sleep 5
        kill -KILL -- "-$tests_pid"
    ) &
    limit_pid=$!
    set +m

    status=0
    wait "$tests_pid" || status=$?
    kill -TERM -- "-$limit_pid" 2>/dev/null || true
    wait "$limit_pid" 2>/dev/null || true
    limit_pid=
    if end_group "$tests_pid"; then say "the tests left processes running; they were ended"; fi
    tests_pid=
    # tee ends with its last writer. A process that left the group may still be one.
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$tee_pid" 2>/dev/null || break
        sleep 0.1
    done
    if end_group "$tee_pid"; then say "a process that the tests detached is still running"; fi
    wait "$tee_pid" 2>/dev/null || true
    tee_pid=

    count_tests
    remark=
    if [ "$((passed + failed))" -eq 0 ]; then
        remark="no test ran"
        say "$remark"
        [ "$status" -ne 0 ] || status=1
    elif [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then
        status=1
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        remark="ended with status $status"
        say "cargo test ended with status $status although no test says that it failed:"
        say "a test binary broke off, or the run was ended"
    fi
    compare_runtimes
    printf 'test binaries: %s (documentation included), ignored tests: %s\n' "$binaries" "$ignored"
    printf '%s passed, %s failed\n' "$passed" "$failed"
}

# Prints how many tests passed on each runtime: those whose names end in it. The lists of names must
# be the same, or the run has failed, unless cargo was told to leave tests out.
compare_runtimes() {
    local runtime names all=
    for runtime in tokio async_std smol; do
        names=$(sed -n "s/^test \(.*\)::$runtime \.\.\. ok\$/\1/p" "$scratch/log" | sort)
        if [ -z "$names" ] && [ "$told" = yes ]; then continue; fi
        printf '%s: %s scenarios passed\n' "$runtime" "$(grep -c . <<<"$names" || true)"
        if [ "$runtime" = tokio ]; then
            all=$names
        elif [ "$names" != "$all" ] && [ "$told" = no ]; then
            remark="other tests passed on $runtime than on tokio"
            say "$remark:"
            diff <(printf '%s\n' "$all") <(printf '%s\n' "$names") >&2 || true
            [ "$status" -ne 0 ] || status=1
        fi
    done
}

# `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, one line for each test binary.
count_tests() {
    read -r binaries passed failed ignored <<COUNTS
$(awk '
    /^test result:/ {
        binaries++
        for (i = 2; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    END { print binaries + 0, passed + 0, failed + 0, ignored + 0 }
' "$scratch/log")
COUNTS
}

if [ -z "$servers" ]; then
    run_tests "${first[@]}"
    exit "$status"
fi

table=$(printf '%-10s %-8s %7s %7s %8s' server version passed failed seconds)
arguments=("${first[@]}")
passed_total=0
failed_total=0
worst=0
while read -r -u 3 name version path; do
    printf '\n=== %s (%s): cargo test %s\n' "$name" "$version" "${arguments[*]}"
    CLAMATOR_REDIS_SERVER=$path
    SECONDS=0
    run_tests "${arguments[@]}"
    table+=$(printf '\n%-10s %-8s %7s %7s %8s' "$name" "$version" "$passed" "$failed" "$SECONDS")
    table+=${remark:+  $remark}
    [ "$status" -eq 0 ] || worst=$status
    passed_total=$((passed_total + passed))
    failed_total=$((failed_total + failed))
    arguments=("${further[@]}")
done 3<<<"$servers"
printf '\n%s\n\n%s passed, %s failed\n' "$table" "$passed_total" "$failed_total"
exit "$worst"
