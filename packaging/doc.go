// Package packaging holds what a deb or an rpm is made of: the recipe for nfpm, the
// systemd unit, the user and folders, the scripts, the configuration that a
// machine begins with. `make packages` builds from it.
//
// The Go in here is tests alone. They build the packages, look into them, and run
// the unit's command line in a lab, with the unit's user, capabilities, system
// calls and read-only file system, through failovers: whatever the unit forbids
// and the daemon needs fails there.
package packaging
