#!/bin/sh
# Renews the lock files from pyproject.toml. They hold versions and hashes, and name no package index.
# pip-tools lives in a throw-away environment, so that the locked one holds nothing that is not locked.
set -eu
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --upgrade pip pip-tools
compile="$tools/venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras
         --no-emit-index-url --no-emit-find-links --no-header"
$compile --all-build-deps -o requirements/run.txt pyproject.toml
$compile --extra test -c requirements/run.txt -o requirements/test.txt pyproject.toml
