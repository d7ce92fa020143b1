#!/usr/bin/env bash
# ansible-test sanity, on a copy of what git knows: it wants the folder ansible_collections/samefiles/aws.
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
rm -rf "$tree"
mkdir -p "$tree"
git -C "$root" ls-files -z -- . ':!.ansible' | tar -C "$root" --null -T - -cf - | tar -C "$tree" -xf -
git -C "$tree" init -q
cd "$tree"
exec ansible-test sanity --local --color no --python "$python" "$@"
