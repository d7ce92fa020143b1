#!/usr/bin/env bash
# ansible-test sanity on the collection as it is built and published.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
out=$root/.cache/sanity
tree=$out/ansible_collections/samefiles/aws
python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export HOME=$out/home
# It would fetch get-pip from a host of its own; Python has ensurepip.
mkdir -p "$HOME/.ansible/test/cache"
for version in 24_2 25_2; do
    printf 'import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n' >"$HOME/.ansible/test/cache/get_pip_$version.py"
done
rm -rf "$out/ansible_collections" "$out"/*.tar.gz
mkdir -p "$tree"
ansible-galaxy collection build --output-path "$out" "$root" >/dev/null
tar -C "$tree" -xzf "$out"/samefiles-aws-*.tar.gz
git -C "$tree" init -q
cd "$tree"
exec ansible-test sanity --local --color no --python "$python" "$@"
