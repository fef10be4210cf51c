#!/usr/bin/env bash
# Runs the fuzz targets with cargo-fuzz, one after the other, each for some seconds.
#
#   tests/fuzz.sh                    every target for a minute
#   tests/fuzz.sh server client      these targets
#   CLAMATOR_FUZZ_SECONDS=3600 tests/fuzz.sh server
#
# The same targets run as property tests with `cargo test -p clamator-tests --test fuzz`, without
# this script and what it needs: cargo-fuzz, which it installs in tests/.env, and a C++ compiler,
# for libFuzzer. Any toolchain will do. No sanitizer is used, as there is no unsafe code here; for
# that of dependencies, CLAMATOR_FUZZ_SANITIZER=address with a nightly toolchain.
#
# What libFuzzer finds of use is kept in tests/fuzz/corpus, which is not committed and is used by the
# next run; tests/fuzz/seeds is committed. An input that breaks a target is made smaller and
# printed in hexadecimal with the line that repeats it, and the status is 1.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=0.13.2
seconds=${CLAMATOR_FUZZ_SECONDS:-60}
sanitizer=${CLAMATOR_FUZZ_SANITIZER:-none}
cd "$here/.."

say() { printf 'tests/fuzz.sh: %s\n' "$*" >&2; }

case ${1:-} in
-h | --help)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$here/fuzz.sh" | sed '/^set /d'
    exit 0
    ;;
esac

tool=$here/.env/cargo/bin/cargo-fuzz
if [ "$("$tool" --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    say "installing cargo-fuzz $version in tests/.env"
    cargo install --quiet --locked --root "$here/.env/cargo" --version "$version" cargo-fuzz
fi

# Instrumentation needs flags that stable hides.
export RUSTC_BOOTSTRAP=1
fuzz=("$tool" run --fuzz-dir "$here/fuzz" --sanitizer "$sanitizer")
[ $# -gt 0 ] || mapfile -t targets < <("$tool" list --fuzz-dir "$here/fuzz")
[ $# -eq 0 ] || targets=("$@")

failed=0
for target in "${targets[@]}"; do
    mkdir -p "$here/fuzz/corpus/$target"
    corpora=("$here/fuzz/corpus/$target")
    [ ! -d "$here/fuzz/seeds/$target" ] || corpora+=("$here/fuzz/seeds/$target")
    artifacts=$here/fuzz/artifacts/$target
    log=$(mktemp)
    if "${fuzz[@]}" "$target" "${corpora[@]}" -- -max_total_time="$seconds" -max_len=4096 \
        -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1; then
        say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, none breaks it"
    else
        failed=1
        grep -a -A 2 'panicked at\|ERROR: \|^error' "$log" >&2 || tail -n 20 "$log" >&2
        input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        if [ -n "$input" ]; then
            "$tool" tmin --fuzz-dir "$here/fuzz" --sanitizer "$sanitizer" --runs 20000 "$target" \
                "$input" >/dev/null 2>&1 || true
            # shellcheck disable=SC2012
            input=$(ls -t "$artifacts"/* | head -n 1)
            hexadecimal=$(od -An -v -tx1 "$input" | tr -d ' \n')
            say "$target is broken by $hexadecimal"
            say "reproduce: CLAMATOR_FUZZ_INPUT=$hexadecimal cargo test -p clamator-tests" \
                "--test fuzz -- --exact $target --nocapture"
        fi
    fi
    rm -f "$log"
done
exit "$failed"
