#!/bin/sh
# Polls EC2's instance metadata (IMDSv2) for a Spot interruption notice and for a rebalance recommendation, and writes
# each atomically to a file that every job container sees read-only: the notice to SPOTBATCH_NOTICE_FILE, on which
# jobs leave; the recommendation, only a hint, to rebalance.json beside it. The host's type and zone, for the records of
# its attempts, are written once to instance-type and zone beside them. Containers themselves may not access the
# metadata service (ecstasks.slice).
# Settings: SPOTBATCH_METADATA_URL, SPOTBATCH_NOTICE_FILE, SPOTBATCH_POLL_SECONDS.
set -u

base=${SPOTBATCH_METADATA_URL:-http://169.254.169.254}
notice=${SPOTBATCH_NOTICE_FILE:-/run/spotbatch/notice.json}
folder=$(dirname "$notice")
rebalance=$folder/rebalance.json
pause=${SPOTBATCH_POLL_SECONDS:-5}
token=""

new_token() {
    token=$(curl --silent --fail --max-time 2 --request PUT \
        --header 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$base/latest/api/token") || token=""
}

# Prints the HTTP status of a metadata path ($1); the response goes to a temporary file next to its target ($2). A
# truncated response yields a status that nothing below knows, and is discarded.
ask() {
    curl --silent --max-time 2 --output "$2.new" --write-out '%{http_code}' \
        --header "X-aws-ec2-metadata-token: $token" "$base/latest/meta-data/$1" || printf '000'
}

# Makes the file ($2) match the metadata path ($1).
follow() {
    [ -n "$token" ] || new_token
    [ -n "$token" ] || return 0
    case $(ask "$1" "$2") in
        200) mv -f "$2.new" "$2" ;;
        401) token="" && rm -f "$2.new" ;;  # expired: the next round asks for a new one
        404) rm -f "$2.new" "$2" ;;         # nothing, or EC2 withdrew it
        *) rm -f "$2.new" ;;
    esac
}

mkdir -p "$folder"
while :; do
    follow spot/instance-action "$notice"
    follow events/recommendations/rebalance "$rebalance"
    [ -s "$folder/instance-type" ] || follow instance-type "$folder/instance-type"
    [ -s "$folder/zone" ] || follow placement/availability-zone "$folder/zone"
    sleep "$pause"
done
