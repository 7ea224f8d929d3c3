#!/bin/sh
# Knows nothing of spotbatch: sums the squares from 1 to $1, keeps its state in the folder that it is given, and goes on
# from there. Writing beside and renaming is all that makes it safe.
#
#   spotrun -- sh count.sh 2000
set -eu
limit=${1:-200}
folder=${SPOTBATCH_CHECKPOINT_DIR:-checkpoint}
results=${SPOTBATCH_OUTPUT_DIR:-output}
mkdir -p "$folder" "$results"

i=0
sum=0
if [ -f "$folder/state" ]; then
  read -r i sum <"$folder/state"
  echo "resumed at $i"
fi

while [ "$i" -lt "$limit" ]; do
  i=$((i + 1))
  sum=$((sum + i * i))
  echo "$i $sum" >"$folder/state.tmp"
  mv "$folder/state.tmp" "$folder/state"
  [ -z "${SPOTBATCH_PROGRESS_FILE:-}" ] || echo "$i/$limit" >"$SPOTBATCH_PROGRESS_FILE"
  sleep "${PAUSE_SECONDS:-0.02}"
done

echo "$sum" >"$results/sum.txt"
echo "sum of the squares up to $limit: $sum"
