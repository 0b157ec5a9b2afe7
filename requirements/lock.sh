#!/usr/bin/env bash
# Writes the lock files anew from the *.in files: every dependency with version and hashes, for Linux on x86_64 and aarch64, Python 3.11 and later.
# Needs uv (pip install uv). Read the difference before you commit it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

lock() { # lock INPUT OUTPUT [uv options]
    local input=$1 output=$2
    shift 2
    { echo "# Written by requirements/lock.sh from $input; do not edit."
      uv pip compile "$input" --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
          --no-annotate --no-header --no-emit-index-url --no-emit-find-links --quiet "$@" |
          sed -E "s/ ; implementation_name == 'cpython' and sys_platform == 'linux'( \\\\)?$/\1/"
    } > "$output.new"
    mv "$output.new" "$output"
}

lock dev.in lock.txt
lock build.in build.txt --constraint lock.txt
lock ros-wheels.in ros-wheels.txt --constraint lock.txt
lock encoder.in encoder.txt --no-deps
