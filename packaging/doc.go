// Package packaging holds the parts of the deb and rpm packages: the recipe for nfpm,
// the systemd unit, the user and folders, the scripts, and the initial
// configuration. `make packages` builds the packages from them.
//
// The Go code in this package is only tests. They build the packages, check their
// contents, and run the unit's command line through failovers in a lab, with the
// unit's user, capabilities, system calls and read-only file system: anything that
// the daemon needs and the unit forbids fails there.
package packaging
