#!/usr/bin/env bash
# Completes .venv: the Python environment with the locked requirements. Does nothing if it is already complete; repairs
# what an interrupted run left behind, or a .venv that lost its Python. deploy.sh, cleanup.sh and the Makefile call it.
#
# Usage: scripts/environment.sh [demo]
#   demo   what the demo and a deployment need, without the development tools (requirements-demo.txt)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv_version=0.13.9
python=${PYTHON:-python3}
everything=.venv/.installed # written last: without it nothing in .venv counts as done
unfinished=.venv/.unfinished # there while packages are being installed
installed=$everything
lock=requirements.txt
debian=' (Debian: apt-get install python3-venv)'
if [ "${1:-}" = demo ]; then
    installed=.venv/.installed-demo
    lock=requirements-demo.txt
fi

fail() {
    printf '%s\n' "$*" >&2
    exit 4
}

is_newer() { # than its lock and the project's own file
    [ -e "$1" ] && ! [ "$2" -nt "$1" ] && ! [ pyproject.toml -nt "$1" ]
}

is_whole() { # everything includes the requirements of the demo
    [ ! -e $unfinished ] && { is_newer $everything requirements.txt || is_newer $installed $lock; } && .venv/bin/python -c '' 2>/dev/null
}

# Without pip, which takes a third of the first minute to install: uv includes it with the rest.
make_environment() {
    command -v "$python" >/dev/null ||
        fail "$python is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed, $("$python" --version 2>&1) was found: set PYTHON=/path/to/python3.12"
    if [ -e .venv ]; then
        printf '.venv is not whole (an installation was interrupted, or its Python has gone): making it anew\n' >&2
    fi
    "$python" -m venv --clear --without-pip .venv || fail "$python could not make .venv$debian"
}

has_pip() { .venv/bin/python -c 'import pip' 2>/dev/null; }

get_uv() { # with the pip of the Python that .venv was made from, or else with one of its own
    local options=(install --quiet --disable-pip-version-check --no-compile --target .venv/uv "uv==$uv_version")
    [ -x .venv/uv/bin/uv ] || "$python" -m pip "${options[@]}" 2>/dev/null ||
        { get_pip && .venv/bin/python -m pip "${options[@]}" 2>/dev/null; }
}

get_pip() { has_pip || .venv/bin/python -m ensurepip >/dev/null 2>&1; }

# uv installs several times faster than pip. It ignores pip's settings, so it is passed pip's index; if it cannot be
# installed or cannot reach the packages (a proxy, a private certificate), pip installs them.
install() {
    local index
    if [ "$count" -gt 0 ] && get_uv; then
        index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
        [ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
        # On a terminal it shows its progress; in a log its list of packages is just noise.
        if [ -t 2 ]; then set --; else set -- --quiet; fi
        .venv/uv/bin/uv pip install "$@" --python .venv/bin/python pip -r $lock && return
        printf 'uv could not install them: pip tries\n' >&2
    fi
    get_pip || fail "$python has no pip and no ensurepip$debian"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r $lock
}

if is_whole; then
    exit 0
fi
if ! has_pip || [ -e $unfinished ]; then
    make_environment
fi
touch $unfinished
count=$(grep -c '==' $lock || true)
printf 'installing %s packages (%s) into .venv: once, a minute or two ...\n' "$count" $lock >&2
install ||
    fail "the requirements could not be installed: see above; a proxy or an index may be set with \`pip config\`"
touch $installed
rm $unfinished
