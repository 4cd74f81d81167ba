#!/bin/sh
# After removing: the daemon's state, and that it was enabled, are removed when the
# package is purged.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/swerve /run/swerve
	rm -f /etc/systemd/system/multi-user.target.wants/swerve.service
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
