#!/usr/bin/env bash
# All that a GPU machine is to tell, in one command and so many seconds (docs/speed.md):
#   benchmarks/gpu.sh OUT [SECONDS] [--folder DIR] [--quick] [--size 64] [--epochs 60] [--jobs auto]
# DIR is what `python -m benchmarks.gpu_pack` made: images, weights, wheels. Nothing is downloaded, and nothing
# is written but in OUT and in a temporary folder. PYTHON names the interpreter (default: python3).
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=
previous=
for word; do
  if [ "$previous" = --folder ]; then folder=$word; fi
  previous=$word
done
work=$(mktemp -d "${TMPDIR:-$( [ -w /dev/shm ] && echo /dev/shm || echo /tmp )}/lmd-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT
path=$project/src:$project
if [ -n "$folder" ] && [ -d "$folder/whl" ]; then
  # Only what fits this Python; what else is needed (torch, timm, torchvision) has to be there.
  names=$(cd "$folder/whl" && ls ./*.whl | sed 's|^\./||; s|-[0-9].*||' | sort -u)
  for name in $names; do
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check \
      --root-user-action=ignore --find-links "$folder/whl" --target "$work/site" "$name" ||
      echo "gpu.sh: no wheel of $name fits $("$python" --version)" >&2
  done
  path=$work/site:$path
fi
export PYTHONPATH=$path${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 LMD_GPU_WORK=$work
"$python" -m benchmarks.gpu "$@"
