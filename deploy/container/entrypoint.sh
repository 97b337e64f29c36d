#!/bin/sh
# Runs a node as process 1 of a container: it joins whoever answers, or begins the cluster.
#
#   ZGEN_SECRET   file with the key, as it is mounted; it is copied, since zgen wants it private
#   ZGEN_PORT     where the node listens; 6380 by default
#   ZGEN_PEERS    HOST:PORT of other members, separated by spaces; any may be gone
#   ZGEN_BEGIN    not empty if this node may begin a new cluster when none of them answers. Give it
#                 to one node only: a second one that is cut off from the first would begin another.
#   arguments     more options of `zgen node start`

set -eu
umask 077
port=${ZGEN_PORT:-6380}
folder=${TMPDIR:-/tmp}/zgen-key-$(id -u)
mkdir -p "$folder"
chmod 0700 "$folder"
install -m 0600 "$ZGEN_SECRET" "$folder/cluster.key"
export ZGEN_KEY="$folder/cluster.key"

set -- --listen "tcp://0.0.0.0:$port" "$@"
for peer in ${ZGEN_PEERS:-}; do
    if zgen doctor --address "tcp://$peer" >/dev/null 2>&1; then
        exec zgen node start --join "$peer" "$@"
    fi
done
if [ -n "${ZGEN_PEERS:-}" ] && [ -z "${ZGEN_BEGIN:-}" ]; then
    echo "none of $ZGEN_PEERS answers, and this node may not begin a cluster: ZGEN_BEGIN" >&2
    exit 1
fi
exec zgen node start "$@"
