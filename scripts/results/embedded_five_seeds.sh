#!/usr/bin/env bash
# The embedded pair under both objectives, five seeds each, one table: scripts/results/embedded_five_seeds.sh [FOLDER]
set -euo pipefail
folder=${1:-runs/embedded_five_seeds}
for objective in topk sampled; do
  for seed in 0 1 2 3 4; do
    opdkit train objective=$objective seed=$seed logger=jsonl run_dir="$folder/$objective-$seed"
  done
done
python "$(dirname "$0")/seed_table.py" "$folder"/*/
