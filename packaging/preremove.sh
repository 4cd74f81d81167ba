#!/bin/sh
# Before removing: stop the daemon, and remove what it put into the kernel while the
# program is still installed. An upgrade does neither, nor does a deconfiguration, after
# which the program is still there and may work.
set -e
case "$1" in
remove) rpm= ;; # Debian: it stays enabled until it is purged
0) rpm=yes ;;
*) exit 0 ;;
esac

# The services and the kernel are this root's own where systemd is the first process and
# has this root. A chroot, an image that is built, and a container inside of another may
# have a /proc, a /run or even the network of the machine around them: when in doubt they
# are left alone. What /proc/1/root does not tell, the mount at / does.
root_of() {
	while read -r _ _ device folder at _; do
		[ "$at" != / ] || echo "$device $folder"
	done <"$1"
} 2>/dev/null
on_machine() {
	[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] && [ "$(cat /proc/1/comm 2>/dev/null)" = systemd ] || return 1
	if [ -e /proc/1/root/ ]; then
		[ / -ef /proc/1/root/ ]
		return
	fi
	first=$(root_of /proc/1/mountinfo) && [ -n "$first" ] && [ "$first" = "$(root_of /proc/self/mountinfo)" ]
}
if ! on_machine; then
	[ -z "$rpm" ] || systemctl disable swerve.service || true
	[ -n "${DPKG_ROOT:-}" ] || echo "swerve: systemd is not the first process of this root, so nothing is stopped or taken out of the kernel; where Swerve ran here, its rules stay until the next boot" >&2
	exit 0
fi
systemctl stop swerve.service || true
[ -z "$rpm" ] || systemctl disable swerve.service || true
swerve teardown || true
