#!/usr/bin/env bash
# Cuts the power under a writing store, again and again: a loop-mounted ext4 is shut down by the
# GOINGDOWN ioctl without flushing its journal, mounted again, and every record that was
# acknowledged must be there, whole. Root only.
# With `churn`, most records are deleted and sparse logs rewritten meanwhile: what was deleted must
# not come back either.
#   usage: io/shardstore/tests/power_cut.sh [CYCLES [write|churn]]
set -euo pipefail
cycles=${1:-20}
verb=${2:-write}
writer=${CARGO_TARGET_DIR:-target}/debug/examples/power_cut_writer
cargo build --quiet --package shardstore --example power_cut_writer
rig=$(mktemp -d)
image=$rig/image mount=$rig/mount store=$rig/mount/store
acknowledged=$rig/acknowledged
mkdir "$mount"
truncate -s 2G "$image"
mkfs.ext4 -q -F "$image"
mount -o loop "$image" "$mount"
end() {
  umount "$mount" || true
  rm -rf "$rig"
}
trap end EXIT

cut_power() {
  python3 - "$mount" <<'PY'
import fcntl, os, struct, sys
NOLOGFLUSH, EXT4_IOC_SHUTDOWN = 2, 0x8004587D
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
PY
}

total=0
for cycle in $(seq "$cycles"); do
  if ((cycle % 40 == 1)); then
    rm -rf "$store"
    : >"$acknowledged"
  fi
  first=$((cycle * 1000000))
  "$writer" "$verb" "$store" "$first" >"$rig/new" 2>/dev/null &
  pid=$!
  sleep "0.$((RANDOM % 7 + 1))"
  # Power leaves the program and the disk at once; the ioctl takes 100 ms, in which ext4 fails
  # writes and may still answer a sync with success. So the program stops first.
  kill -STOP "$pid"
  cut_power
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  umount "$mount"
  mount -o loop "$image" "$mount"
  # The last line may be cut in the middle of a number.
  grep -E "^[-?]?${first%000000}[0-9]{6}$" "$rig/new" >>"$acknowledged" || true
  total=$((total + $(grep -c -v "?" "$rig/new" || true)))
  "$writer" check "$store" 0 <"$acknowledged" || { echo "cycle $cycle: LOST OR BACK"; exit 1; }
done
echo "$cycles power cuts, $total records and deletes acknowledged, none lost"
