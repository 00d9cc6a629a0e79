#!/bin/sh
# SPDX-License-Identifier: MIT
# First process of L1, in the initramfs: mounts the host's root read-only with a tmpfs over it, loads drivers, and
# becomes the agent. Kernel arguments: lab.modules=FOLDER (modules of this kernel, as seen on the host),
# lab.python=PATH.
export PATH=/bin
say() { echo "lab: $*" >/dev/kmsg; }
die() {
    say "FATAL: $*"
    sleep 1
    poweroff -f
}
load() {
    while read -r module; do
        [ "$module" = kvm_amd ] && ! grep_flag svm && continue
        [ "$module" = kvm_intel ] && ! grep_flag vmx && continue
        insmod "/modules/$module.ko" 2>/dev/null || say "module $module did not load"
    done <"/modules/$1.list"
}
grep_flag() { case "$flags" in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

flags=
while read -r name _ rest; do
    [ "$name" = flags ] && { flags=" $rest "; break; }
done </proc/cpuinfo
modules= python=/usr/bin/python3 init=agent
for word in $(cat /proc/cmdline); do
    case "$word" in
    lab.modules=*) modules=${word#*=} ;;
    lab.python=*) python=${word#*=} ;;
    lab.init=*) init=${word#*=} ;;
    esac
done

say "loading drivers"
load root
{ load device; load display; } &
loading=$!

share="trans=virtio,version=9p2000.L,msize=512000"
mount -t 9p -o "$share,cache=loose,ro" host /host || die "cannot mount the host's root"
mount -t tmpfs -o mode=755,size=75% tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /new || die "no overlay"
for folder in proc sys dev run lab; do
    [ -d "/new/$folder" ] || mkdir -p "/new/$folder"
done
mount -t tmpfs -o mode=755 run /new/run
mount -t 9p -o "$share,cache=none" lab /new/lab || die "cannot mount the share for results"
mkdir -p /new/lib/modules /new/run/lab /new/run/lock /new/run/user
mkdir -m 700 /new/run/user/0
mount -o bind "/host${modules%/*}" /new/lib/modules || die "cannot bind $modules"
cp /lab/agent.py /bin/busybox /new/run/lab/

mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
hostname rayvm-lab
ip link set lo up 2>/dev/null
echo 0 >/proc/sys/kernel/ctrl-alt-del
echo 0 >/proc/sys/kernel/core_pattern

wait $loading
say "root is ready"
mount -o move /proc /new/proc
mount -o move /sys /new/sys
mount -o move /dev /new/dev
if [ "$init" != systemd ]; then
    exec switch_root /new "$python" -I -S -B /run/lab/agent.py
fi

# With systemd as the first process the agent is a service of it, and only what a unit may rely on is started.
units=/new/run/systemd/system
mkdir -p $units
cat >$units/lab.target <<END
[Unit]
Requires=sysinit.target
Wants=lab-agent.service
AllowIsolate=yes
END
cat >$units/lab-agent.service <<END
[Unit]
DefaultDependencies=no
After=sysinit.target
[Service]
ExecStart=$python -I -S -B /run/lab/agent.py
KillMode=process
Delegate=yes
END
# The host's own disks, clock and first-boot questions are not ours.
for unit in systemd-firstboot systemd-machine-id-commit systemd-random-seed systemd-hwdb-update ldconfig \
    systemd-journal-flush systemd-journal-catalog-update systemd-update-done systemd-sysusers systemd-timesyncd tmp.mount systemd-binfmt; do
    case $unit in *.mount) ;; *) unit=$unit.service ;; esac
    ln -s /dev/null $units/$unit
done
# Nor may it clear the host's /tmp away, where the tree under test may be.
mkdir -p /new/etc/tmpfiles.d
for file in tmp x11 var; do
    ln -s /dev/null /new/etc/tmpfiles.d/$file.conf
done
[ -s /new/etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >/new/etc/machine-id
echo "# L1 mounts its own" >/new/etc/fstab
exec switch_root /new /lib/systemd/systemd --unit=lab.target --log-level=warning --show-status=false
