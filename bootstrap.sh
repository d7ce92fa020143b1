#!/bin/sh
# Makes .venv: the controller's Python packages, exactly those of requirements/dev.txt.
# Nothing is installed into the system's Python. PYTHON=python3.13 picks an interpreter.
set -eu
cd "$(dirname "$0")"

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if fits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Debian keeps ensurepip in a package of its own, so a Python may be there and still make no venv.
install_python() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "bootstrap: installing python3 and python3-venv" >&2
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install python3 python3-venv >/dev/null
    else
        echo "bootstrap: Python 3.11 or newer with its venv module is needed: install it (Debian, Ubuntu: apt-get install python3-venv), or name one with PYTHON=/path/to/python3" >&2
        exit 1
    fi
}

python=$(find_python) || { install_python; python=$(find_python); }
uv=.cache/uv/bin/uv
if ! [ -x "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    "$python" -m venv --clear .cache/uv >/dev/null 2>&1 || { install_python; "$python" -m venv --clear .cache/uv; }
    .cache/uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
fi
echo "bootstrap: Python packages for $("$python" --version) into .venv (about a minute the first time)" >&2
# uv must not look for a Python elsewhere: the one found above is the one.
export UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy
"$uv" venv -q --clear -p "$python" .venv
"$uv" pip sync -q --require-hashes --compile-bytecode -p .venv/bin/python requirements/dev.txt
touch .venv/.ok
