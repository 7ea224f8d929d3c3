#!/usr/bin/env bash
# Makes .venv whole: the Python environment with the locked requirements. Does nothing where that is so already; repairs
# what an interrupted run left, or what lost its Python. deploy.sh, cleanup.sh and the Makefile call it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
installed=.venv/.installed # written last: without it nothing in .venv counts as done

fail() {
    printf '%s\n' "$*" >&2
    exit 4
}

is_whole() {
    [ -e $installed ] && ! [ requirements.txt -nt $installed ] && ! [ pyproject.toml -nt $installed ] &&
        .venv/bin/python -c '' 2>/dev/null
}

make_environment() {
    command -v "$python" >/dev/null ||
        fail "$python is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed, $("$python" --version 2>&1) was found: set PYTHON=/path/to/python3.12"
    if [ -e .venv ]; then
        printf '.venv is not whole (an installation was interrupted, or its Python has gone): making it anew\n' >&2
    fi
    "$python" -m venv --clear .venv || fail "$python could not make .venv (Debian: apt-get install python3-venv)"
}

if is_whole; then
    exit 0
fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    make_environment
fi
printf 'installing the locked requirements into .venv (once, a minute or two) ...\n' >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt ||
    fail "the requirements could not be installed: see above; a proxy or an index may be set with \`pip config\`"
touch $installed
