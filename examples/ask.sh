#!/bin/sh
# Ask, drop the connection, come back after the last number: with curl alone.
set -eu
url=${PERDURE_URL:-http://127.0.0.1:8000}

id=$(curl -s "$url/api/invoke_endpoint" -H 'Content-Type: application/json' \
  -d '{"message": "What happens when I close the tab?"}' | sed 's/.*"request_id":"\([^"]*\)".*/\1/')

# Read the first events only; closing the connection changes nothing for the answer.
last=$(curl -sN "$url/api/requests/$id/stream" | sed -n 's/^id: //p' | head -n 4 | tail -n 1)
echo "dropped after event $last of $id"

# Everything after it, to the end.
rest=$(curl -sN -H "Last-Event-ID: $last" "$url/api/requests/$id/stream")
echo "$rest" | sed -n 's/^id: /went on with event /p' | head -n 1
echo "$rest" | sed -n 's/^event: //p' | tail -n 1
curl -s "$url/api/requests/$id/status"
