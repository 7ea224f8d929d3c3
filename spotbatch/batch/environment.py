"""The contract between host, container and rulebook: variable names and exit codes, each defined once."""

from spotbatch.batch.light_types import Final

# Set by AWS Batch in every container (AWS Batch user guide, "AWS Batch job environment variables").
AWS_BATCH_JOB_ID: Final = "AWS_BATCH_JOB_ID"  # the job's id; a child's with its index
AWS_BATCH_JOB_ATTEMPT: Final = "AWS_BATCH_JOB_ATTEMPT"  # from 1
AWS_BATCH_CE_NAME: Final = "AWS_BATCH_CE_NAME"  # the compute environment
AWS_BATCH_JQ_NAME: Final = "AWS_BATCH_JQ_NAME"  # the job queue
AWS_BATCH_JOB_ARRAY_INDEX: Final = "AWS_BATCH_JOB_ARRAY_INDEX"  # children only, from 0
AWS_BATCH_JOB_ARRAY_SIZE: Final = "AWS_BATCH_JOB_ARRAY_SIZE"  # children only
AWS_EXECUTION_ENV: Final = "AWS_EXECUTION_ENV"  # AWS_ECS_EC2
# AWS SDKs and Tools Reference Guide, "IMDS credential provider": where the metadata service is, or that there is none.
AWS_EC2_METADATA_SERVICE_ENDPOINT: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
AWS_EC2_METADATA_DISABLED: Final = "AWS_EC2_METADATA_DISABLED"
RESERVED_PREFIX: Final = "AWS_BATCH"  # AWS Batch refuses overrides whose names begin with this

# Ours: where things are. The stack's job definition, or the local region, sets these.
SPOTBATCH_ARTIFACTS_URL: Final = "SPOTBATCH_ARTIFACTS_URL"  # s3://bucket/prefix or file:///folder
SPOTBATCH_RUN_ID: Final = "SPOTBATCH_RUN_ID"  # names the work; default: the job id without its array index
SPOTBATCH_ARRAY_INDEXES: Final = "SPOTBATCH_ARRAY_INDEXES"  # the run indexes that this array holds, as 3,17,40-45
SPOTBATCH_INPUT_LIST: Final = "SPOTBATCH_INPUT_LIST"  # 1: each child has a line in the run's list of inputs
SPOTBATCH_SUBMISSION: Final = "SPOTBATCH_SUBMISSION"  # identifies a SubmitJob call, whose answer may be lost
SPOTBATCH_NOTICE_FILE: Final = "SPOTBATCH_NOTICE_FILE"  # the host writes the interruption notice there (JSON)
SPOTBATCH_INSTANCE_TYPE: Final = "SPOTBATCH_INSTANCE_TYPE"  # what the host is, for the attempt's record
SPOTBATCH_ZONE: Final = "SPOTBATCH_ZONE"  # where the host is, for the attempt's record

# Ours: files beside the notice in which the host describes itself if the two variables above are not set.
HOST_TYPE_FILE: Final = "instance-type"
HOST_ZONE_FILE: Final = "zone"

# Ours: what the runtime passes to the command.
SPOTBATCH_CHECKPOINT_DIR: Final = "SPOTBATCH_CHECKPOINT_DIR"  # state that the next attempt gets back
SPOTBATCH_OUTPUT_DIR: Final = "SPOTBATCH_OUTPUT_DIR"  # results, uploaded when the command succeeded
SPOTBATCH_INPUT: Final = "SPOTBATCH_INPUT"  # the child's own line of the list of inputs
SPOTBATCH_INPUT_DIR: Final = "SPOTBATCH_INPUT_DIR"  # declared inputs, fetched before the start
SPOTBATCH_HEARTBEAT_FILE: Final = "SPOTBATCH_HEARTBEAT_FILE"  # touched by the command to show that it is alive
SPOTBATCH_PROGRESS_FILE: Final = "SPOTBATCH_PROGRESS_FILE"  # 3/10, 30% or JSON: the command's progress

SPOTBATCH_SAVE_REQUEST_FILE: Final = "SPOTBATCH_SAVE_REQUEST_FILE"  # a number written here requests a save now
SPOTBATCH_SAVE_DONE_FILE: Final = "SPOTBATCH_SAVE_DONE_FILE"  # the number of the last request that was saved
SPOTBATCH_INTERRUPTED_FILE: Final = "SPOTBATCH_INTERRUPTED_FILE"  # exists once the attempt must end

# Ours: settings of the runtime that a user may set (docs/runtime.md has the whole list).
SPOTBATCH_INPUTS: Final = "SPOTBATCH_INPUTS"  # URLs to fetch into the input folder, separated by white space
SPOTBATCH_CODE: Final = "SPOTBATCH_CODE"  # SHA-256 of the packed folder that the command runs in (`submit --code`)
SPOTBATCH_CHECKPOINT_SECONDS: Final = "SPOTBATCH_CHECKPOINT_SECONDS"  # a fixed time between saves
SPOTBATCH_CHECKPOINT_OPEN_FILES: Final = "SPOTBATCH_CHECKPOINT_OPEN_FILES"  # auto, frozen or before: files held open
SPOTBATCH_CHECKPOINT_EXCLUDE: Final = "SPOTBATCH_CHECKPOINT_EXCLUDE"  # shell-style patterns of names not to save
SPOTBATCH_INTERRUPTIONS_PER_HOUR: Final = "SPOTBATCH_INTERRUPTIONS_PER_HOUR"  # expected, of one host
SPOTBATCH_SCRATCH_DIR: Final = "SPOTBATCH_SCRATCH_DIR"  # where folders that are not given are made
SPOTBATCH_RESTORE_SECONDS: Final = "SPOTBATCH_RESTORE_SECONDS"  # the longest stall allowed at the start
SPOTBATCH_UPLOAD_SECONDS: Final = "SPOTBATCH_UPLOAD_SECONDS"  # the longest stall allowed at the end
SPOTBATCH_SNAPSHOT: Final = "SPOTBATCH_SNAPSHOT"  # off, or on-notice: dump the command and go on from there
SPOTBATCH_SNAPSHOT_ROOTS: Final = "SPOTBATCH_SNAPSHOT_ROOTS"  # folders whose changes go with it, set by the region
SPOTBATCH_STOP_SECONDS: Final = "SPOTBATCH_STOP_SECONDS"  # between the host's SIGTERM and its SIGKILL
SPOTBATCH_STOP_HOOK: Final = "SPOTBATCH_STOP_HOOK"  # a command run instead of sending the stop signal
SPOTBATCH_GRACE_SECONDS: Final = "SPOTBATCH_GRACE_SECONDS"  # for the command to end on its own
SPOTBATCH_STOP_SIGNAL: Final = "SPOTBATCH_STOP_SIGNAL"  # what the command gets, SIGTERM by default
SPOTBATCH_HEARTBEAT_SECONDS: Final = "SPOTBATCH_HEARTBEAT_SECONDS"  # maximum healthy age of the heartbeat file
SPOTBATCH_UNHEALTHY_ATTEMPTS: Final = "SPOTBATCH_UNHEALTHY_ATTEMPTS"  # how many may end unhealthy and be retried
SPOTBATCH_HEALTH_COMMAND: Final = "SPOTBATCH_HEALTH_COMMAND"  # a shell command; 0 is healthy
SPOTBATCH_HEALTH_INTERVAL_SECONDS: Final = "SPOTBATCH_HEALTH_INTERVAL_SECONDS"  # between two checks
SPOTBATCH_HEALTH_TIMEOUT_SECONDS: Final = "SPOTBATCH_HEALTH_TIMEOUT_SECONDS"  # of one check
SPOTBATCH_HEALTH_RETRIES: Final = "SPOTBATCH_HEALTH_RETRIES"  # failures in a row that count as unhealthy
SPOTBATCH_HEALTH_START_PERIOD_SECONDS: Final = "SPOTBATCH_HEALTH_START_PERIOD_SECONDS"  # failures do not count

# The tag that distinguishes one stack's resources from another's: everything app.py creates carries it, instances
# and volumes included, and cleanup queries AWS for it. CloudFormation's own tag does not reach everything.
STACK_TAG: Final = "spotbatch-stack"

# The runtime's own exit codes. Any other code is the command's. Chosen outside the ranges that shells (126-165),
# sysexits.h (64-78) and common programs use, so that an EvaluateOnExit entry on them means just this. One that begins
# with 21 asks for another attempt (one of AWS Batch's five entries, `RETRIED_EXIT_CODES`); a permanent one must not.
EXIT_INTERRUPTED: Final = 210  # notice or SIGTERM: state is saved, run me again
EXIT_UNHEALTHY: Final = 211  # the health check gave up on the command
EXIT_NOT_SAVED: Final = 212  # the command succeeded, but the store did not take its outputs: run me again
EXIT_INTERNAL: Final = 213  # an error in the runtime itself, which is a bug: run me again, from the last checkpoint
EXIT_OUTPUTS_REFUSED: Final = 220  # the command succeeded, but its outputs can never be saved as they are
RETRIED_EXIT_CODES: Final = "21*"  # an EvaluateOnExit pattern
