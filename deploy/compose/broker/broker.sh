#!/bin/bash
# Formats the volume at the first start, then runs Kafka. It needs only the scripts in /opt/kafka/bin, and writes only
# to the volume and /tmp, so that the root file system can be read-only.
set -euo pipefail
configuration=${BROKER_CONFIGURATION:-/faultline/broker.properties}
# Any 16 bytes in base64 serve as cluster id of a single node.
cluster=${CLUSTER_ID:-RmF1bHRsaW5lLUthZmthLTE}
export LOG_DIR=/tmp/kafka-logs
export KAFKA_LOG4J_OPTS="-Dlog4j2.configurationFile=/faultline-log/log4j2.properties"
# Without -loggc, which would write garbage collection logs to disk.
export EXTRA_ARGS="-name kafkaServer"

# Users of the secure overlay (name=password) are created at the first start; change them later with kafka-configs.sh.
scram=()
if [ -n "${USERS:-}" ]; then
    while IFS='=' read -r name password; do
        scram+=(--add-scram "SCRAM-SHA-512=[name=$name,password=$password]")
    done < "$USERS"
fi

heap=$KAFKA_HEAP_OPTS
export KAFKA_HEAP_OPTS=-Xmx256m
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "$cluster" --config "$configuration" "${scram[@]}"
export KAFKA_HEAP_OPTS=$heap
exec /opt/kafka/bin/kafka-server-start.sh "$configuration" \
    --override "advertised.listeners=${ADVERTISED:-INSIDE://broker:19092,HOST://localhost:${PUBLISHED_PORT:-9092}}"
