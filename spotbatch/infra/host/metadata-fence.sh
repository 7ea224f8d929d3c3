#!/bin/sh
# Proves at boot that ecstasks.slice, below which the ECS agent puts every container, cannot reach the metadata service.
# Exits with 0 if it cannot, otherwise with 1: the ECS agent requires this unit, so no job starts on such a host. The
# reason is written to the journal and to the console, which `aws ec2 get-console-output` shows.
# Settings: SPOTBATCH_FENCE (required, or tried: the agent then starts in any case), SPOTBATCH_METADATA_URL,
# SPOTBATCH_CONSOLE, SPOTBATCH_FENCE_TRIES, SPOTBATCH_FENCE_PAUSE_SECONDS.
set -u

url=${SPOTBATCH_METADATA_URL:-http://169.254.169.254}
probe=spotbatch-fence-probe.service # curl within the slice
tries=${SPOTBATCH_FENCE_TRIES:-60}

say() {
    echo "spotbatch: $1"
    echo "spotbatch: $1" >"${SPOTBATCH_CONSOLE:-/dev/console}" 2>/dev/null || :
}

# Prints the slice's access: open, closed, or why it is unknown. A response with any HTTP status counts as open.
asked() {
    curl --silent --output /dev/null --max-time 2 "$url/" || {
        echo "the metadata service does not answer the host itself"
        return
    }
    if systemctl start "$probe"; then
        echo open
        return
    fi
    status=$(systemctl show --property=ExecMainStatus --value "$probe")
    case $status in
        7 | 28) echo closed ;; # curl: no connection, or a timeout
        *) echo "the test could not be run in the slice (status $status)" ;;
    esac
}

found="it was not asked"
while [ "$tries" -gt 0 ]; do
    found=$(asked)
    case $found in
        closed) exit 0 ;;
        open) break ;;
    esac
    tries=$((tries - 1))
    sleep "${SPOTBATCH_FENCE_PAUSE_SECONDS:-5}"
done
[ "$found" = open ] && found="a process in ecstasks.slice gets an answer from $url"
if [ "${SPOTBATCH_FENCE:-required}" != required ]; then
    say "the containers of jobs may reach the host's credentials: $found"
    exit 0
fi
say "the ECS agent is not started, since containers of jobs may reach the host's credentials: $found"
systemctl stop --no-block ecs.service # in case the agent does not wait for this unit
exit 1
