#!/bin/sh
# After installing or upgrading: the user, the folders, and the daemon. An upgrade
# restarts it, which moves no traffic.
set -e

# The package is installed whatever fails here: a package manager that fails would
# be stuck with it. systemd itself makes the folders when it starts the unit, and the
# user when the machine boots.
getent passwd swerve >/dev/null || systemd-sysusers swerve.conf 2>/dev/null ||
	useradd --system --user-group --home-dir /var/lib/swerve --no-create-home --shell /usr/sbin/nologin swerve ||
	echo "swerve: the user swerve does not exist yet; systemd adds it at the next boot" >&2

# A chroot has no services and no kernel of its own: both are those of the machine
# around it, as /run may be. Without /proc nobody can tell.
in_chroot() {
	[ -n "${DPKG_ROOT:-}" ] || ! [ -d /proc/1 ] || { [ -e /proc/1/root/ ] && ! [ / -ef /proc/1/root/ ]; }
}
running() { [ -d /run/systemd/system ] && ! in_chroot; }
! running || systemd-tmpfiles --create swerve.conf || true

# Debian's wrapper starts nothing if the machine's policy forbids it.
services=systemctl
if command -v deb-systemd-invoke >/dev/null; then
	services=deb-systemd-invoke
fi

# The daemon refuses a bad configuration. Traffic goes on by what is in the kernel.
failed() {
	echo "swerve: the daemon did not start; see \"swerve check\" and \"journalctl -u swerve\"" >&2
}

next() {
	cat <<-'EOF'
		swerve: next, "swerve status" shows what it found, and "swerve init" prints a
		configuration for this machine. Put it into /etc/swerve/swerve.yaml, then type
		"swerve check && swerve reload". Until two uplinks have answered, it changes nothing.
	EOF
}

# Enabling works without a running systemd too, such as when an image is built.
case "$1" in
configure) # Debian; $2 is the previous version, if there was one
	[ -n "${2:-}" ] || systemctl enable swerve.service ||
		echo "swerve: the service is not enabled; see \"systemctl enable swerve\"" >&2
	if running; then
		systemctl daemon-reload || true
		! systemctl is-enabled --quiet swerve.service || $services restart swerve.service || failed
	fi
	[ -n "${2:-}" ] || next
	;;
1) # rpm, first installation: administrators start services themselves there
	systemctl preset swerve.service || true
	! running || systemctl daemon-reload || true
	echo "swerve: \"systemctl enable --now swerve\" starts it"
	next
	;;
2) # rpm, upgrade
	if running; then
		systemctl daemon-reload || true
		systemctl try-restart swerve.service || failed
	fi
	;;
esac
