#!/bin/sh
# After installing or upgrading: the user, the folders, and the daemon. An upgrade
# restarts it, which moves no traffic.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers swerve.conf
elif ! getent passwd swerve >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/swerve --no-create-home --shell /usr/sbin/nologin swerve
fi
if command -v systemd-tmpfiles >/dev/null; then
	systemd-tmpfiles --create swerve.conf
fi

running() { [ -d /run/systemd/system ]; }

# Debian's wrapper starts nothing if the machine's policy forbids it.
services=systemctl
if command -v deb-systemd-invoke >/dev/null; then
	services=deb-systemd-invoke
fi

# The package is installed whether or not the daemon starts, which refuses a bad
# configuration: a package manager that fails would be stuck with it. Traffic goes on
# by what is in the kernel.
failed() {
	echo "swerve: the daemon did not start; see \"swerve check\" and \"journalctl -u swerve\"" >&2
}

# Enabling works without a running systemd too, such as when an image is built.
case "$1" in
configure) # Debian; $2 is the previous version, if there was one
	[ -n "${2:-}" ] || systemctl enable swerve.service || failed
	if running; then
		systemctl daemon-reload || true
		! systemctl is-enabled --quiet swerve.service || $services restart swerve.service || failed
	fi
	;;
1) # rpm, first installation: administrators start services themselves there
	systemctl preset swerve.service || true
	! running || systemctl daemon-reload || true
	;;
2) # rpm, upgrade
	if running; then
		systemctl daemon-reload || true
		systemctl try-restart swerve.service || failed
	fi
	;;
esac
