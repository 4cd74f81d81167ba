#!/bin/sh
# After installing or upgrading: the user, the folders, and the daemon. An upgrade
# restarts it, which moves no traffic.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers swerve.conf
elif ! getent passwd swerve >/dev/null; then
	useradd --system --home-dir /var/lib/swerve --no-create-home --shell /usr/sbin/nologin swerve
fi
if command -v systemd-tmpfiles >/dev/null; then
	systemd-tmpfiles --create swerve.conf
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
case "$1" in
configure) # Debian; $2 is the version before, if there was one
	if [ -z "${2:-}" ]; then
		systemctl enable --now swerve.service
	else
		systemctl try-restart swerve.service
	fi
	;;
1) # rpm, first installation: administrators enable services themselves there
	systemctl preset swerve.service
	;;
*)
	systemctl try-restart swerve.service
	;;
esac
