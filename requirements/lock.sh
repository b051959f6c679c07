#!/bin/sh
# Writes the hash-pinned lists anew: dev.txt holds everything, the others are cut from it so that all agree.
set -eu
cd "$(dirname "$0")/.."
compile() { # output, constraint or nothing, then the extras
    out=$1; shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header "$@" pyproject.toml -o "requirements/$out.txt"
}
compile dev --upgrade --extra client --extra relay --extra gateway --extra worker --extra ledger --extra bench --extra build --extra dev
compile build --constraint requirements/dev.txt --extra build
compile parties --constraint requirements/dev.txt --extra client --extra relay --extra gateway --extra worker --extra ledger --extra build
# tpm.txt is written by hand: tpm2-pytss has no wheel, and comes last, after what builds it (the Makefile installs it so).
for party in client relay gateway worker ledger; do
    compile "$party" --constraint requirements/dev.txt --extra "$party"
done
