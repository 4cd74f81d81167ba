#!/bin/sh
# After removing: what the daemon has learnt, and that it was enabled, goes when the
# user asks for it.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/swerve /run/swerve
	rm -f /etc/systemd/system/multi-user.target.wants/swerve.service
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
