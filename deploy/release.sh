#!/bin/sh
# Builds the worker's software of this commit in build/release and writes its manifest there: what `make release-manifest`
# runs. Every clone of a commit gives the same manifest on a machine with the same Python and system (docs/releases.md).
#
#   sh deploy/release.sh [WORKER.TOML]      PYTHON=python3.11 names another interpreter
set -eu
cd "$(dirname "$0")/.."
config=${1:-deploy/release.toml}
out=build/release
umask 022 # what a wheel says of its files' modes would otherwise follow the builder's

say() { echo "$@" >&2; }
revision=$(git rev-parse --verify HEAD 2>/dev/null) || {
    say "release-manifest: this is no git checkout with a commit, so nobody could build the same; clone the repository"
    exit 2
}
[ -r "$config" ] || { say "release-manifest: cannot read $config; name the worker's configuration with CONFIG="; exit 2; }
[ -z "$(git status --porcelain)" ] || say "note: what is not committed is not in the release: git status shows it"

# The commit and nothing else: files that lie about in the checkout would end up in the wheel.
rm -rf "$out"
mkdir -p "$out/source"
# Whatever git does to lines and modes elsewhere on this machine, it does not do here.
git -c core.autocrlf=false -c core.eol=lf -c tar.umask=0022 archive "$revision" | tar -x -C "$out/source"

# Two environments: what builds (pip, setuptools) leaves start-up files behind, and a worker's is measured with them.
say "building commit $revision..."
"${PYTHON:-python3}" -m venv "$out/tools"
"${PYTHON:-python3}" -m venv --without-pip "$out/venv"
tools="$out/tools/bin/python -m pip --disable-pip-version-check"
$tools install --quiet --require-hashes --no-deps -r "$out/source/requirements/build.txt"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$revision") # the times in the wheel, so that it is the same as well
export SOURCE_DATE_EPOCH
$tools wheel --quiet --no-deps --no-build-isolation --wheel-dir "$out" "$out/source"

say "installing it and the worker's packages (hash-pinned, not editable)..."
into="$tools --python $out/venv/bin/python install --quiet --no-deps --no-compile"
$into --only-binary :all: --require-hashes -r "$out/source/requirements/worker.txt"
$into "$out"/seclude-*.whl

# The model that the configuration names, where it is the one that we pin; any other is the operator's to bring.
if grep -q '"models/all-minilm-l6-v2"' "$config"; then
    PYTHONPATH="$out/source" "$out/tools/bin/python" -B -m inference.model install all-minilm-l6-v2 --dir models >&2
fi
digest=$("$out/venv/bin/seclude-worker" manifest --config "$config" --out "$out/worker.manifest")
say "commit    $revision"
say "wheel     $(sha256sum "$out"/seclude-*.whl | cut -d ' ' -f 1)"
say "manifest  $out/worker.manifest, of the configuration $config"
echo "$digest"
