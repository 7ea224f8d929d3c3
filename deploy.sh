#!/usr/bin/env bash
# Deploys the stack. Sets up what is needed to reach the Python that does the work, then hands it the arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'END'
Usage: ./deploy.sh [--profile NAME] [--region NAME] [--stack-name NAME] [--set KEY=VALUE ...] [--dry-run] [--yes]

Deploys the cost-optimized batch stack into your AWS account: checks credentials, quota and roles, shows what the stack
costs while idle, bootstraps the CDK where needed, synthesizes once, deploys, and prints the outputs and what to do next.

  --profile NAME     a profile of the AWS CLI          --region NAME   the AWS region
  --stack-name NAME  default: CostOptimizedBatchProcessing
  --set KEY=VALUE    a setting of the stack, e.g. --set max_vcpus=64 --set egress=public
  --dry-run          check and synthesize, change nothing on AWS
  --yes              do not ask                        -h, --help      this text

Safe to interrupt and to run again. Remove everything with ./cleanup.sh.
END
}

for argument in "$@"; do
    case $argument in -h | --help) usage; exit 0 ;; esac
done

# shellcheck source=scripts/setup.sh
source scripts/setup.sh
need_python
need_cdk
exec .venv/bin/python -m spotbatch.cli.main deploy "$@"
