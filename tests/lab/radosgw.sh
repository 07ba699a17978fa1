#!/bin/bash
# radosgw.sh ROOT PORT CERTIFICATE_AND_KEY LOG_DIRECTORY   a Ceph of one monitor, one disk in memory and an S3 gateway
# Runs as the first process of namespaces of its own (mounts, processes): when it ends, all ends, and nothing is left
# in ROOT, which only has to hold the packages. PORT and the 70 after it are free: http on PORT, https on PORT+1.
set -euo pipefail
root=$1 port=$2 pem=$3 logs=$4
ulimit -n 20000
mount -t tmpfs -o size=3g,mode=755 tmpfs "$root/srv"
mount -t tmpfs tmpfs "$root/run"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
base=/srv/ceph
mkdir -p "$root$base"/{mon,osd,rgw,run}
mkdir "$root$base/log" && mount --bind "$logs" "$root$base/log"
cp "$pem" "$root$base/rgw.pem"
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$root$base/ceph.conf" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$((port + 2)),v1:127.0.0.1:$((port + 3))]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = $((port + 10))
ms_bind_port_max = $((port + 69))
keyring = $base/keyring
run_dir = $base/run
admin_socket = $base/run/\$name.asok
log_file = $base/log/\$name.log
pid_file =
# one copy of everything, few groups, and nothing that would move data
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
osd_objectstore = memstore
memstore_device_bytes = 2147483648
auth_allow_insecure_global_id_reclaim = false
mon_data_avail_crit = 1
rgw_gc_obj_min_wait = 5
rgw_enable_usage_log = false
[mon.a]
mon_data = $base/mon
[osd.0]
osd_data = $base/osd
[client.rgw.a]
rgw_data = $base/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port ssl_endpoint=127.0.0.1:$((port + 1)) ssl_certificate=$base/rgw.pem
CONF
inside() { chroot "$root" nice -n 10 "$@"; }
key() { inside ceph-authtool "$base/keyring" --gen-key -n "$@" >/dev/null; }
touch "$root$base/keyring"
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
key client.rgw.a --cap mon 'allow rw' --cap osd 'allow rwx'
ceph() { inside ceph -c "$base/ceph.conf" --connect-timeout 5 "$@"; }
until_true() { until "$@" >/dev/null 2>&1; do sleep 0.2; done; }

inside monmaptool --create --fsid "$fsid" \
  --addv a "[v2:127.0.0.1:$((port + 2)),v1:127.0.0.1:$((port + 3))]" "$base/monmap" >/dev/null
inside ceph-mon -c "$base/ceph.conf" --mkfs -i a --keyring "$base/keyring" --monmap "$base/monmap" 2>/dev/null
inside ceph-mon -c "$base/ceph.conf" -f -i a >"$logs/mon.out" 2>&1 &
until_true ceph mon stat
disk=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$disk" >/dev/null
inside ceph-osd -c "$base/ceph.conf" -i 0 --mkfs --osd-uuid "$disk" >"$logs/mkfs.out" 2>&1
inside ceph-osd -c "$base/ceph.conf" -f -i 0 >"$logs/osd.out" 2>&1 &
is_up() { ceph osd stat 2>/dev/null | grep -q '1 up'; }
until_true is_up
inside radosgw-admin -c "$base/ceph.conf" -n client.rgw.a user create --uid=admin --display-name=admin \
  --access-key=AKIATESTTEST --secret-key=SKSKSKSKSKSKSKSK --caps='users=*;buckets=*' >"$logs/user.out" 2>&1
inside radosgw -c "$base/ceph.conf" -f -n client.rgw.a >"$logs/rgw.out" 2>&1 &
wait -n   # whichever ends first: then it is no server any more
