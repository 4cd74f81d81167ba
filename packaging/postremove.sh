#!/bin/sh
# After removing: the daemon's state, its user, and that it was enabled, are removed
# when the package is purged.
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
# A package that kept no record of them made these two, if they are as it makes them.
ours() {
	if [ -e "$made" ]; then
		grep -qx "$1" "$made" || return 1
	fi
	entry "$1" swerve | {
		IFS=: read -r _ _ id members _ home shell || [ -n "$id" ] || return 1
		[ "$id" -gt 0 ] && [ "$id" -lt 1000 ] || return 1
		case "$1:$home:$shell" in
		passwd:/var/lib/swerve:*/nologin | passwd:/var/lib/swerve:*/false) ;;
		group::) [ -z "$members" ] || [ -e "$made" ] ;;
		*) return 1 ;;
		esac
	}
}
left() { echo "swerve: the $1 swerve stays: this package did not make it, or it is used otherwise" >&2; }
if [ "$1" = purge ]; then
	user= group=
	! ours passwd || user=yes
	! ours group || group=yes
	home=$(entry passwd swerve | { IFS=: read -r _ _ _ _ _ home _; echo "$home"; }) || true
	if [ -n "$user" ] || [ "$home" != /var/lib/swerve ]; then
		rm -rf "${DPKG_ROOT:-}/var/lib/swerve"
	else # somebody's home
		rm -f "${DPKG_ROOT:-}/var/lib/swerve"/state.json* "${DPKG_ROOT:-}/var/lib/swerve"/events.ndjson*
		rmdir "${DPKG_ROOT:-}/var/lib/swerve" 2>/dev/null || true
	fi
	rm -f "${DPKG_ROOT:-}/etc/systemd/system/multi-user.target.wants/swerve.service"
	! on_machine || rm -rf /run/swerve
	# userdel would remove a group of the user's name as well.
	if [ -n "$user" ] && [ -z "$group" ] && entry group swerve >/dev/null; then
		usermod ${DPKG_ROOT:+--prefix "$DPKG_ROOT"} --gid nogroup swerve || user=
	fi
	[ -z "$user" ] || userdel ${DPKG_ROOT:+--prefix "$DPKG_ROOT"} swerve || true
	! entry group swerve >/dev/null || [ -z "$group" ] || groupdel ${DPKG_ROOT:+--prefix "$DPKG_ROOT"} swerve || true
	! entry passwd swerve >/dev/null || left user
	! entry group swerve >/dev/null || left group
	rm -f "$made"
fi
if on_machine; then
	systemctl daemon-reload || true
fi
