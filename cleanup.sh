#!/usr/bin/env bash
# Removes the stack. Sets up what is needed to reach the Python that does the work, then hands it the arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'END'
Usage: ./cleanup.sh [--profile NAME] [--region NAME] [--stack-name NAME] [--everything] [--dry-run] [--yes]

Removes the stack from your AWS account: asks, disables the queue, ends the jobs and waits for them, empties what must be
empty, deletes the stack, and asks AWS what is left. Artifacts and images are kept unless you say --everything.

  --profile NAME     a profile of the AWS CLI          --region NAME   the AWS region
  --stack-name NAME  default: CostOptimizedBatchProcessing
  --everything       delete the artifacts bucket and the image repository too, with all that they hold
  --dry-run          say what would be done, change nothing
  --yes              do not ask                        -h, --help      this text

Safe to interrupt and to run again.
END
}

for argument in "$@"; do
    case $argument in -h | --help) usage; exit 0 ;; esac
done

# shellcheck source=scripts/setup.sh
source scripts/setup.sh
need_python
exec .venv/bin/python -m spotbatch.cli.main cleanup "$@"
