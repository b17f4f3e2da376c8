#!/bin/sh
# boot.sh FOLDER AGENT WORKSPACE: in namespaces of our own, a systemd that starts the agent's unit as it is shipped, on a copy-on-write view
# of this machine's files. FOLDER/report gets what it saw, one `key=value` a line, the last one `done=`.
set -eu
folder=$1 agent=$2 workspace=$3
root=$folder/root

mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --rbind /dev "$root/dev"

ip link set lo up
for name in lan0 wan0; do
    ip link add $name type veth peer name far-$name
    ip link set $name up
    ip link set far-$name up
done

# Nothing of this machine's is started: only what is below.
rm -rf "$root"/etc/systemd/system/* "$root/etc/edge" "$root/var/lib/edge"
mkdir -p "$root/etc/edge"
cp -r "$workspace/policies" "$root/etc/edge/policies"
printf 'interfaces: {inside: [lan0], outside: [wan0]}\n' >"$root/etc/edge/agent.yaml"
cp "$agent" "$root/usr/sbin/edge-agent"
cp "$workspace/deploy/systemd/edge-agent.service" "$root/etc/systemd/system/"

# There is no journal here.
mkdir "$root/etc/systemd/system/edge-agent.service.d"
printf '[Service]\nStandardError=append:/agent.log\n' >"$root/etc/systemd/system/edge-agent.service.d/log.conf"

cat >"$root/etc/systemd/system/boot-test.target" <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=edge-agent.service boot-test.service
UNIT
cat >"$root/etc/systemd/system/boot-test.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
[Service]
Type=oneshot
ExecStart=/bin/sh /boot-test.sh
StandardOutput=file:/report
StandardError=file:/errors
UNIT
cat >"$root/boot-test.sh" <<'SCRIPT'
pid() { systemctl show --value --property=MainPID edge-agent; }
ready() { curl --silent --max-time 5 http://127.0.0.1:9650/readyz; }
# After an event that takes the agent a moment.
until_ready() { for _ in $(seq 100); do ready | grep -q '"ready":true' && return; sleep 0.1; done; }
attached() { ip link show lan0 | grep -q xdp && echo yes || echo no; }

# This runs after network-pre.target, and so must find the agent ready.
echo "service=$(systemctl show --property=Result,ExecMainCode,ExecMainStatus edge-agent | tr "\n" " ")"
echo "before_network=$(ready)"
echo "capabilities=$(sed -n 's/^CapEff:\t//p' /proc/$(pid)/status)"
echo "state=$(grep -o /usr/share/tor/geoip6 /var/lib/edge/sources.json | head -n 1)"
echo "seccomp=$(sed -n 's/^Seccomp:\t//p' /proc/$(pid)/status)"
systemctl reload edge-agent && sleep 2
echo "reloaded=$(ready)"
old=$(pid)
[ "$old" = 0 ] || kill -KILL "$old"
echo "attached_without_agent=$(attached)"
sleep 2
until_ready
new=$(pid)
[ "$new" != "$old" ] && [ "$new" != 0 ] && echo "restarted=$(ready)"
systemctl stop edge-agent
echo "attached_after_stop=$(attached)"
edge-agent detach >/dev/null
echo "attached_after_detach=$(attached)"
echo "log=$(tail -c 4000 /agent.log | tr '\n' '|')"
echo "done="
SCRIPT
echo 00000000000000000000000000000001 >"$root/etc/machine-id"
exec chroot "$root" /usr/bin/env container=lxc /lib/systemd/systemd --system --unit=boot-test.target --show-status=no
