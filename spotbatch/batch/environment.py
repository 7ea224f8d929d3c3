"""The contract between a host, a container and the rulebook: variable names and exit codes, each written once."""

from typing import Final

# Set by AWS Batch in every container (AWS Batch user guide, "AWS Batch job environment variables").
AWS_BATCH_JOB_ID: Final = "AWS_BATCH_JOB_ID"
AWS_BATCH_JOB_ATTEMPT: Final = "AWS_BATCH_JOB_ATTEMPT"  # from 1
AWS_BATCH_CE_NAME: Final = "AWS_BATCH_CE_NAME"
AWS_BATCH_JQ_NAME: Final = "AWS_BATCH_JQ_NAME"
AWS_BATCH_JOB_ARRAY_INDEX: Final = "AWS_BATCH_JOB_ARRAY_INDEX"  # children only, from 0
AWS_BATCH_JOB_ARRAY_SIZE: Final = "AWS_BATCH_JOB_ARRAY_SIZE"  # children only
AWS_EXECUTION_ENV: Final = "AWS_EXECUTION_ENV"
RESERVED_PREFIX: Final = "AWS_BATCH"  # AWS Batch refuses overrides whose names begin so

# Ours: where things are. The stack's job definition, or the local region, sets these.
SPOTBATCH_ARTIFACTS_URL: Final = "SPOTBATCH_ARTIFACTS_URL"  # s3://bucket/prefix or file:///folder
SPOTBATCH_RUN_ID: Final = "SPOTBATCH_RUN_ID"  # names the work; default: the job id without its array index
SPOTBATCH_NOTICE_FILE: Final = "SPOTBATCH_NOTICE_FILE"  # the host writes the interruption notice there (JSON)
SPOTBATCH_INSTANCE_TYPE: Final = "SPOTBATCH_INSTANCE_TYPE"  # what the host is, for the attempt's record
SPOTBATCH_ZONE: Final = "SPOTBATCH_ZONE"

# Ours: what the runtime gives to the command.
SPOTBATCH_CHECKPOINT_DIR: Final = "SPOTBATCH_CHECKPOINT_DIR"
SPOTBATCH_OUTPUT_DIR: Final = "SPOTBATCH_OUTPUT_DIR"
SPOTBATCH_INPUT_DIR: Final = "SPOTBATCH_INPUT_DIR"
SPOTBATCH_HEARTBEAT_FILE: Final = "SPOTBATCH_HEARTBEAT_FILE"
SPOTBATCH_PROGRESS_FILE: Final = "SPOTBATCH_PROGRESS_FILE"

# Ours: settings of the runtime that a user may set (docs/runtime.md has the whole list).
SPOTBATCH_INPUTS: Final = "SPOTBATCH_INPUTS"  # URLs to fetch into the input folder, separated by white space
SPOTBATCH_CHECKPOINT_SECONDS: Final = "SPOTBATCH_CHECKPOINT_SECONDS"
SPOTBATCH_GRACE_SECONDS: Final = "SPOTBATCH_GRACE_SECONDS"
SPOTBATCH_STOP_SIGNAL: Final = "SPOTBATCH_STOP_SIGNAL"
SPOTBATCH_HEALTH_COMMAND: Final = "SPOTBATCH_HEALTH_COMMAND"
SPOTBATCH_HEALTH_INTERVAL_SECONDS: Final = "SPOTBATCH_HEALTH_INTERVAL_SECONDS"
SPOTBATCH_HEALTH_TIMEOUT_SECONDS: Final = "SPOTBATCH_HEALTH_TIMEOUT_SECONDS"
SPOTBATCH_HEALTH_RETRIES: Final = "SPOTBATCH_HEALTH_RETRIES"
SPOTBATCH_HEALTH_START_PERIOD_SECONDS: Final = "SPOTBATCH_HEALTH_START_PERIOD_SECONDS"

# Exit codes of the runtime's own. Any other code is the command's. Chosen outside the ranges that shells (126-165),
# sysexits.h (64-78) and common programs use, so that an EvaluateOnExit entry on them means just this.
EXIT_INTERRUPTED: Final = 210  # notice or SIGTERM: state is saved, run me again
EXIT_UNHEALTHY: Final = 211  # the health check gave up on the command
EXIT_NOT_SAVED: Final = 212  # the command ended well, but its outputs could not be saved
