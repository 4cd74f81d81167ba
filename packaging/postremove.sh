#!/bin/sh
# After removing: the daemon's state, its user, and that it was enabled, are removed
# when the package is purged.
set -e
# A chroot has no services and no kernel of its own: both are those of the machine
# around it, as /run may be. Without /proc nobody can tell.
in_chroot() {
	[ -n "${DPKG_ROOT:-}" ] || ! [ -d /proc/1 ] || { [ -e /proc/1/root/ ] && ! [ / -ef /proc/1/root/ ]; }
}
if [ "$1" = purge ]; then
	rm -rf /var/lib/swerve
	rm -f /etc/systemd/system/multi-user.target.wants/swerve.service
	in_chroot || rm -rf /run/swerve
	! getent passwd swerve >/dev/null || userdel swerve || true
	! getent group swerve >/dev/null || groupdel swerve || true
fi
if [ -d /run/systemd/system ] && ! in_chroot; then
	systemctl daemon-reload || true
fi
