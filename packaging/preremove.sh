#!/bin/sh
# Before removing: stop the daemon, and remove what it put into the kernel while the
# program is still installed. An upgrade does neither.
set -e
case "$1" in
remove | deconfigure) rpm= ;; # Debian: it stays enabled until it is purged
0) rpm=yes ;;
*) exit 0 ;;
esac

# A chroot has no services and no kernel of its own: both are those of the machine
# around it, as /run may be. Without /proc nobody can tell.
in_chroot() {
	[ -n "${DPKG_ROOT:-}" ] || ! [ -d /proc/1 ] || { [ -e /proc/1/root/ ] && ! [ / -ef /proc/1/root/ ]; }
}
if in_chroot; then
	[ -z "$rpm" ] || systemctl disable swerve.service || true
	exit 0
fi
if [ -d /run/systemd/system ]; then
	systemctl stop swerve.service || true
	[ -z "$rpm" ] || systemctl disable swerve.service || true
fi
swerve teardown || true
