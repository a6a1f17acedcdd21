#!/bin/sh
# Runs tests as root on a Linux kernel of their own: sh tests/system/own_kernel.sh .venv/bin/python tests/system/test_cgroups.py
# Needs linux.uml (Debian: user-mode-linux), and no privileges. The files are those of this host, read-only; what the
# tests write is in memory. Ends with 0 if all of them passed, and with 2 if the kernel did not start.

if [ $$ -ne 1 ]; then
  case $1 in /*) python=$1 ;; *) python=$PWD/$1 ;; esac
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  linux.uml mem=2G root=/dev/root rootfstype=hostfs ro quiet panic=1 con=null con0=null,fd:1 \
    init="$(cd "$(dirname "$0")" && pwd)/own_kernel.sh" AT="$PWD" PYTHON="$python" TESTS="$2" < /dev/null 2>&1 |
    grep --line-buffered -v -e '^SELinux' -e '^mmapper' -e '^Failed to initialize ubd' -e 'Killed process' | tee "$log"
  grep -q '^tests: passed' "$log" && exit 0
  grep -q '^tests: failed' "$log" && exit 1
  echo "user-mode Linux did not start" >&2
  exit 2
fi

# Here it is the first process of that kernel.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /mnt
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
export TMPDIR=/mnt HOME=/mnt PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1
cd "$AT" || exit 1
if "$PYTHON" -m pytest -q -p no:cacheprovider "$TESTS"; then echo "tests: passed"; else echo "tests: failed"; fi
poweroff -f 2> /dev/null || echo o > /proc/sysrq-trigger
sleep 60
