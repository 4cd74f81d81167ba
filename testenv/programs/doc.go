// Package programs runs programs of Debian that are not installed here, in network
// namespaces: nothing of the machine changes, and all that ran is gone with its place.
//
// Unpack has the packages' folder, which apt downloads on first use. A Place shows that
// folder over /usr and /etc, in mounts and processes of its own.
package programs
