#!/bin/bash
# Formats the volume at the first start, then becomes Kafka. Needs only what the image has in /opt/kafka/bin, and
# writes nothing but the volume and /tmp, so that the root can be read-only.
set -euo pipefail
configuration=${BROKER_CONFIGURATION:-/faultline/broker.properties}
# Any 16 bytes in base64; one node needs no other.
cluster=${CLUSTER_ID:-RmF1bHRsaW5lLUthZmthLTE}
export LOG_DIR=/tmp/kafka-logs
export KAFKA_LOG4J_OPTS="-Dlog4j2.configurationFile=/faultline-log/log4j2.properties"
# Without -loggc, which would keep logs of the garbage collection on disk.
export EXTRA_ARGS="-name kafkaServer"

# Users of the secure overlay, as name=password, are written at the first start; kafka-configs.sh changes them later.
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
