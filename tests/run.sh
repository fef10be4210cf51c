#!/usr/bin/env bash
# Runs every test of the workspace against a real Redis and the published Python peer.
#
# It needs Rust and Python 3.11 or later and nothing else: tests/setup.sh brings the rest, in
# tests/.env. It does not check formatting, lints or documentation (.ci/run does), and it starts
# no Redis itself: each test that needs one starts its own, on loopback.
#
#   tests/run.sh                                        everything
#   tests/run.sh -p clamator-tests --test interop       what `cargo test` is told instead
#
# The last line is `N passed, N failed`. The status is 0 only when something ran and nothing
# failed. What the tests leave running is ended and reported. CLAMATOR_TEST_SECONDS_MAX (default
# 3600) bounds the run of the tests, without the build.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds_max=${CLAMATOR_TEST_SECONDS_MAX:-3600}
cd "$here/.."

say() { printf 'tests/run.sh: %s\n' "$*" >&2; }

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

"$here/setup.sh"
export CLAMATOR_REDIS_SERVER=$here/.env/redis-server
export CLAMATOR_PYTHON=$here/.env/python/bin/python
# A test that forgot to name its own Redis must not reach somebody's real one, and the Python
# programs must see the prepared packages only.
unset REDIS_URL PYTHONHOME PYTHONPATH

[ $# -gt 0 ] || set -- --workspace

# The whole build first, so that the time limit and the count are about tests. Building the tests
# also builds the programs and examples that they start.
cargo test --locked --no-run "$@"

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

# With job control on, each background job is a process group of its own, which takes in the
# servers and peers that the tests start.
set -m
mkfifo "$scratch/output"
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

# `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, one line for each test binary.
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

if [ "$((passed + failed))" -eq 0 ]; then
    say "no test ran"
    [ "$status" -ne 0 ] || status=1
elif [ "$failed" -gt 0 ] && [ "$status" -eq 0 ]; then
    status=1
elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    say "cargo test ended with status $status although no test says that it failed:"
    say "a test binary broke off, or the run was ended"
fi
printf 'test binaries: %s (documentation included), ignored tests: %s\n' "$binaries" "$ignored"
printf '%s passed, %s failed\n' "$passed" "$failed"
exit "$status"
