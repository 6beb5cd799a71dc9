#!/usr/bin/env bash
# Measures what a GPU is for, in at most 8 minutes:
#
#     benchmarks/gpu.sh [--tiny] [PART ...]
#
# It needs `pip install -e '.[bench]'` with JAX and PyTorch for the GPU; without PyTorch its rows are left out. Prints one
# table: a line per part with its time, then its figures. A part that fails or takes too long is reported, and the next
# one follows; parts for which no time is left are listed, so that a second call can name them. `first s` is the wait
# before the first step, from the imports on; `GiB` the peak memory of the GPU; a ratio is PyTorch's time over ours.
# `--tiny` runs every part on a CPU in about a minute, to see whether it runs; its times mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
LIMIT_S=480
TIMEFORMAT="  %0R s wall, %0U s user, %0S s system"
tiny=""
[ "${1:-}" = --tiny ] && tiny=yes && shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" TF_CPP_MIN_LOG_LEVEL=2
if [ $tiny ]; then
  export JAX_PLATFORMS=cpu CUDA_VISIBLE_DEVICES=""
fi

# The figures of a part are what it prints on standard output.
device() {
  python - <<'END'
import importlib.metadata, platform, jax
versions = ["python " + platform.python_version()]
for name in ("jax", "jaxlib", "flax", "torch"):
    try:
        versions.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        versions.append(f"no {name}")
kinds = [device.device_kind for device in jax.devices()]
print(f"  {len(kinds)} x {kinds[0]}; {', '.join(versions)}")
END
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null | sed 's/^/  /'
  echo "  $(nproc) processors"
}

# Runs the demo in a workdir, for an empty cache or with what the demo before left in it.
demo() {
  local small=()
  [ $tiny ] && small=("--config.corpus.speakers=(2,2,2)" --config.corpus.seconds=12 --config.members.cnn.folds.n=2
    --config.members.cnn.learner.epochs=1 "--config.members.cnn.learner.model.filters=(4,4,4,4)"
    "--config.members.cnn.learner.model.lstm=(4,4)")
  { time JAXPARA_CACHE="$folder/cache" python launch.py --config=configs/breathing_e2e.py "${small[@]}" \
    --workdir="$folder/$1" > "$folder/$1.log" 2>&1; } 2>&1 || { tail -n 1 "$folder/$1.log" >&2; return 1; }
  grep "^JAX compiled" "$folder/$1.log" | sed 's/^/  /'
}
demo_cold() { demo cold; }
demo_warm() { demo warm; }

# Compares all predictions of the two demos, the first of which compiled its programs and the second loaded them.
same_bits() {
  local cold warm
  cold=$(cd "$folder/cold" && find . -name '*.npz' -exec sha256sum {} + | sort) || return 1
  warm=$(cd "$folder/warm" && find . -name '*.npz' -exec sha256sum {} + | sort) || return 1
  if [ -n "$cold" ] && [ "$cold" = "$warm" ]; then
    echo "  $(wc -l <<< "$cold") files of predictions are the same, bit by bit"
  else
    echo "  $(diff <(echo "$cold") <(echo "$warm") | grep -c '^<') of $(wc -l <<< "$cold") files of predictions DIFFER"
  fi
}

# Times steps of ours and of PyTorch. Both share the GPU, so neither may take all of its memory in advance.
steps() {
  local flags=(--rounds=5)
  [ $tiny ] && flags=(--rounds=1 --tiny)
  XLA_PYTHON_CLIENT_MEM_FRACTION=0.45 python -m benchmarks.side_by_side "$1" --unchecked "${flags[@]}" \
    --settings eager_tuned compile_tuned > "$folder/steps.log" || return 1
  if grep -q GFLOP "$folder/steps.log"; then
    grep "case and side" "$folder/steps.log"
    sed "1,/case and side/d" "$folder/steps.log" | grep -v "^$"
  fi
}
breathing2() { steps $([ $tiny ] && echo lstm_layers || echo breathing2_train); }
breathing2_45() { steps breathing2_45_train; }
breathing4_dense() { steps breathing4_dense_train; }
mask_224() { steps mask_224_train; }

folds() {
  local flags=("Breathing 2" ResNet18 --rounds=5)
  [ $tiny ] && flags=(narrow --rounds=1 --folds=2)
  python -m benchmarks.folds "${flags[@]}"
}

# The networks in float32 against PyTorch's outputs and gradients, on this device.
networks() {
  local files=(tests/models)
  [ $tiny ] && files=(tests/models/test_crop.py)
  JAX_PLATFORMS=$([ $tiny ] && echo cpu || echo cuda,cpu) JAX_DEFAULT_MATMUL_PRECISION=highest \
    JAX_DISABLE_MOST_OPTIMIZATIONS=0 python -m pytest -n 0 -p no:cacheprovider "${files[@]}" > "$folder/networks.log"
  local status=$?
  tail -n 1 "$folder/networks.log" | sed 's/^/  /'
  grep "^FAILED" "$folder/networks.log" | sed 's/^/  /'
  return $status
}

export -f demo steps
export folder tiny TIMEFORMAT
parts=(device demo_cold demo_warm same_bits breathing2 breathing2_45 breathing4_dense mask_224 folds networks)
[ $tiny ] && parts=(device demo_cold demo_warm same_bits breathing2 folds networks)
for part in "${@:-${parts[@]}}"; do
  left=$((LIMIT_S - SECONDS)) began=$SECONDS
  if ! declare -F "$part" > /dev/null; then
    echo "$part: unknown, expected some of ${parts[*]}"
    exit 1
  fi
  if [ $left -lt 10 ]; then
    echo "$part: not measured, no time left"
    continue
  fi
  export -f "${part?}"
  timeout --kill-after=5 $left bash -c "$part" > "$folder/out" 2> "$folder/err"
  case $? in
    0) echo "$part: $((SECONDS - began)) s" ;;
    124 | 137) echo "$part: ended after $((SECONDS - began)) s, no time left" ;;
    *) echo "$part: FAILED after $((SECONDS - began)) s: $(tail -n 1 "$folder/err")" ;;
  esac
  cat "$folder/out"
done
