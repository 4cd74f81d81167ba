#!/bin/sh
# After removing: what the daemon has learnt goes when the user asks for it.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/swerve
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
