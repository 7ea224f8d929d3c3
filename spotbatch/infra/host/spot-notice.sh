#!/bin/sh
# Polls EC2's instance metadata (IMDSv2) for a Spot interruption notice and writes it, whole, to a file that every job
# container sees read-only. Containers themselves have no route to the metadata service (hop limit 1).
# Settings: SPOTBATCH_METADATA_URL, SPOTBATCH_NOTICE_FILE, SPOTBATCH_POLL_SECONDS.
set -u

base=${SPOTBATCH_METADATA_URL:-http://169.254.169.254}
file=${SPOTBATCH_NOTICE_FILE:-/run/spotbatch/notice.json}
pause=${SPOTBATCH_POLL_SECONDS:-5}
token=""

new_token() {
    token=$(curl --silent --fail --max-time 2 --request PUT \
        --header 'X-aws-ec2-metadata-token-ttl-seconds: 21600' "$base/latest/api/token") || token=""
}

# Prints the HTTP status; the answer goes to the file beside the notice.
ask() {
    curl --silent --max-time 2 --output "$file.new" --write-out '%{http_code}' \
        --header "X-aws-ec2-metadata-token: $token" "$base/latest/meta-data/spot/instance-action" || printf '000'
}

mkdir -p "$(dirname "$file")"
while :; do
    [ -n "$token" ] || new_token
    if [ -n "$token" ]; then
        case $(ask) in
            200) mv -f "$file.new" "$file" ;;
            401) token="" ;; # expired: a new one at once
            404) rm -f "$file.new" "$file" ;; # no notice, or EC2 took it back
            *) rm -f "$file.new" ;;
        esac
    fi
    sleep "$pause"
done
