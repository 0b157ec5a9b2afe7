#!/usr/bin/env bash
# Makes .venv as the Makefile's `setup`. Does nothing when .venv was made by this version of the files below for this kind of machine.
#   PYTHON               interpreter to use (default: the one of the last time, else the first of python3, /usr/bin/python3, python3.12,
#                        python3.11, python3.13 that will do)
#   LAWAM_TORCH_INSTALL  pip arguments that install torch (default: those of the last time, else torch==2.13.0: the build that the package
#                        index gives, but the CPU build where there is no GPU)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=.venv
stamp=$venv/lawam-setup
torch_cpu_index=https://download.pytorch.org/whl/cpu # the one that pytorch.org names for machines without a GPU

last() { sed -n "s/^$1=//p" "$stamp" 2>/dev/null || true; } # a line of the stamp that the last set-up left
previous=$(last ros)
torch_install=${LAWAM_TORCH_INSTALL:-$(last torch)}
torch_install=${torch_install:-torch==2.13.0}

say() { printf 'setup: %s\n' "$*" >&2; }
lacks() { say "$*"; exit 3; }

# The interpreter behind a command, outside any virtual environment, if it is Python 3.11 or later; else nothing.
base_python() {
    "$1" -c 'import sys; print(sys._base_executable) if sys.version_info >= (3, 11) else None' 2>/dev/null || true
}
has_rclpy() { "$1" -c 'import rclpy' 2>/dev/null; }

python='' ros=wheels
for candidate in ${PYTHON:-$(last python) python3 /usr/bin/python3 python3.12 python3.11 python3.13}; do
    found=$(base_python "$candidate")
    [ -n "$found" ] || continue
    python=${python:-$found}
    if [ -n "${AMENT_PREFIX_PATH:-}" ] && has_rclpy "$found"; then
        python=$found ros=system
        break
    fi
done
[ -n "$python" ] || lacks "expected Python 3.11 or later, found $("${PYTHON:-python3}" --version 2>&1 || echo none); install one, or name it: make setup PYTHON=python3.12"

if [ "$previous" = system ] && [ "$ros" = wheels ]; then
    lacks "$venv was made for the ROS 2 installation that was sourced then, now none is; source its setup.bash, or remove $venv to use the ROS wheels"
fi

fingerprint=$(
    printf '%s\n' "ros=$ros" "python=$python" "version=$("$python" -c 'import platform; print(platform.python_version())')" \
        "torch=$torch_install" "files=$(cat requirements/*.txt requirements/setup.sh setup.py setup.cfg | sha256sum | cut -c1-64)" "place=$(pwd -P)"
)
field() { sed -n "s/^$1=//p" <<<"$fingerprint"; }

make_venv() {
    if [ "$ros" = wheels ] && [ "$(uname -m)" != x86_64 ]; then
        lacks "expected a sourced ROS 2 installation, as the ROS wheels exist for x86_64 only and this is $(uname -m); install ROS 2 Jazzy and source its setup.bash"
    fi
    local same=yes name
    for name in ros python version place; do
        [ "$(last $name)" = "$(field $name)" ] || same=no
    done
    if [ $same = no ] || [ ! -x $venv/bin/python ]; then
        rm -rf $venv
        local see_system=()
        [ "$ros" = wheels ] || see_system=(--system-site-packages)
        "$python" -m venv "${see_system[@]}" $venv || lacks "$python cannot make virtual environments; on Debian and Ubuntu install python3-venv"
    fi
    rm -f "$stamp"
}

pip_install() { $venv/bin/python -m pip install -qq --disable-pip-version-check "$@"; }

# Whether the build that the package index gives needs the CUDA packages, several GB that a machine without a GPU has no use for.
brings_cuda() {
    $venv/bin/python -m pip install --disable-pip-version-check --dry-run --ignore-installed --quiet --report - "$1" 2>/dev/null |
        grep -qiE '"name": *"(nvidia|cuda)-'
}

install_all() {
    local locked=(-r requirements/lock.txt)
    [ "$ros" = system ] || locked+=(-r requirements/ros-wheels.txt)
    pip_install --no-deps --require-hashes -r requirements/build.txt
    say "installing the locked packages (rclpy from: $ros)"
    pip_install --no-deps --require-hashes --no-build-isolation "${locked[@]}"
    local torch=$torch_install
    if [ -z "${LAWAM_TORCH_INSTALL:-}" ] && ! command -v nvidia-smi >/dev/null && brings_cuda "$torch"; then
        torch="$torch --index-url $torch_cpu_index"
    fi
    say "installing torch ($torch)"
    # Unquoted on purpose: the variables hold several arguments.
    # shellcheck disable=SC2086
    pip_install $torch || {
        [ "$torch" != "$torch_install" ] || exit 1
        say "that index does not answer; taking the build of the configured one"
        pip_install $torch_install
    }
    pip_install --no-deps --require-hashes -r requirements/encoder.txt
    pip_install --no-deps --no-build-isolation --editable .
}

if [ "$(cat "$stamp" 2>/dev/null || true)" != "$fingerprint" ]; then
    started=$SECONDS
    make_venv
    install_all
    printf '%s\n' "$fingerprint" > "$stamp"
    say "done in $((SECONDS - started)) s"
fi

if ! grep -qs . $venv/lawam-renderer; then
    $venv/bin/python requirements/find_renderer.py > $venv/lawam-renderer
fi
