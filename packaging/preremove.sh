#!/bin/sh
# Before removing: stop the daemon, and remove what it put into the kernel while the
# program is still installed. An upgrade does neither.
set -e
case "$1" in
remove | deconfigure) # Debian: it stays enabled until it is purged
	[ ! -d /run/systemd/system ] || systemctl stop swerve.service || true
	;;
0) # rpm
	if [ -d /run/systemd/system ]; then
		systemctl disable --now swerve.service || true
	fi
	;;
*)
	exit 0
	;;
esac
/usr/bin/swerve teardown || true
