#!/bin/sh
# Before removing: the daemon ends, and what it put into the kernel goes while the
# program is still there to take it out. An upgrade does neither.
set -e
case "$1" in
remove | deconfigure | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl disable --now swerve.service || true
fi
/usr/bin/swerve teardown || true
