#!/bin/sh
# After installing or upgrading: the user, the folders, and the daemon. An upgrade
# restarts it, which moves no traffic.
set -e

# The services and the kernel are this root's own where systemd is the first process and
# has this root. A chroot, an image that is built, and a container inside of another may
# have a /proc, a /run or even the network of the machine around them: when in doubt they
# are left alone. What /proc/1/root does not tell, the mount at / does.
root_of() {
	while read -r _ _ device folder at _; do
		[ "$at" != / ] || echo "$device $folder"
	done <"$1"
} 2>/dev/null
on_machine() {
	[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] && [ "$(cat /proc/1/comm 2>/dev/null)" = systemd ] || return 1
	if [ -e /proc/1/root/ ]; then
		[ / -ef /proc/1/root/ ]
		return
	fi
	first=$(root_of /proc/1/mountinfo) && [ -n "$first" ] && [ "$first" = "$(root_of /proc/self/mountinfo)" ]
}

# entry prints the line of an account: entry passwd NAME, or entry group NAME. dpkg's mode
# without chroot has another root, DPKG_ROOT, of which getent knows nothing.
entry() {
	if [ -n "${DPKG_ROOT:-}" ]; then
		grep "^$2:" "$DPKG_ROOT/etc/$1"
	else
		getent "$1" "$2"
	fi
} 2>/dev/null
# made has the accounts that the package made, which a purge removes.
made="${DPKG_ROOT:-}/var/lib/misc/swerve.made"

# What is there at the first installation is somebody else's, and a purge leaves it. An
# rpm has no purge and kept no record: what an earlier one made looks like it.
missing=
others() {
	echo "swerve: the $1 swerve was here before this package, which did not make it: $2, and it stays when the package is removed" >&2
}
for kind in passwd group; do
	entry $kind swerve >/dev/null || missing="$missing $kind"
done
ours() {
	case "$1:$missing:$(entry passwd swerve)" in
	*" $2"*) return 0 ;; # it is about to be made
	1:*:/var/lib/swerve:*) return 0 ;;
	esac
	grep -qsx "$2" "$made"
}
case "$1:${2:-}" in
configure: | 1:*)
	ours "$1" passwd || others user "the daemon runs as that user"
	ours "$1" group || others group "its members may use the daemon"
	;;
esac
if [ "$1:${2:-}" = configure: ] && ! [ -e "$made" ]; then
	{ mkdir -p "${made%/*}" && for kind in $missing; do echo "$kind"; done >"$made"; } ||
		echo "swerve: $made cannot be written, so a purge judges the user swerve by what it is" >&2
fi

# The package is installed whatever fails here: a package manager that fails would
# be stuck with it. systemd itself makes the folders when it starts the unit, and the
# user when the machine boots.
group=--user-group
! entry group swerve >/dev/null || group="--gid swerve"
entry passwd swerve >/dev/null || systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} swerve.conf 2>/dev/null ||
	useradd ${DPKG_ROOT:+--prefix "$DPKG_ROOT"} --system $group --home-dir /var/lib/swerve --no-create-home --shell /usr/sbin/nologin swerve ||
	echo "swerve: the user swerve does not exist yet; systemd adds it at the next boot" >&2

! on_machine || systemd-tmpfiles --create swerve.conf || true

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
	cat <<-'EOT'
		swerve: next, "swerve status" shows what it found, and "swerve init" prints a
		configuration for this machine. Put it into /etc/swerve/swerve.yaml, then type
		"swerve check && swerve reload". Until two uplinks have answered, it changes nothing.
	EOT
}

# Enabling works without a running systemd too, such as when an image is built.
case "$1" in
configure) # Debian; $2 is the previous version, if there was one
	[ -n "${2:-}" ] || systemctl ${DPKG_ROOT:+--root="$DPKG_ROOT"} enable swerve.service ||
		echo "swerve: the service is not enabled; see \"systemctl enable swerve\"" >&2
	if on_machine; then
		systemctl daemon-reload || true
		! systemctl is-enabled --quiet swerve.service || $services restart swerve.service || failed
	fi
	[ -n "${2:-}" ] || next
	;;
abort-*) # Debian: the package stays, since its removal, upgrade or deconfiguration was given up
	if on_machine; then
		! systemctl is-enabled --quiet swerve.service || $services start swerve.service || failed
	fi
	;;
1) # rpm, first installation: administrators start services themselves there
	systemctl preset swerve.service || true
	! on_machine || systemctl daemon-reload || true
	echo "swerve: \"systemctl enable --now swerve\" starts it"
	next
	;;
2) # rpm, upgrade
	if on_machine; then
		systemctl daemon-reload || true
		systemctl try-restart swerve.service || failed
	fi
	;;
esac
