package failover

import (
	"fmt"
	"net/netip"
)

// Family is an address family. Each is judged and routed separately.
type Family uint8

// The families, usable as an index of the [2] arrays of this package.
const (
	IPv4 Family = iota
	IPv6
)

// Families lists both families, in the order in which they are always handled.
var Families = [2]Family{IPv4, IPv6}

// String returns "ipv4" or "ipv6", as in status and events.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	panic(fmt.Sprintf("failover: unknown family %d", f))
}

// Other returns the other family.
func (f Family) Other() Family { return 1 - f }

// title is the family's name in prose.
func (f Family) title() string {
	if f == IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// FamilyOf returns an address's family. An IPv4-mapped IPv6 address is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() || a.Is4In6() {
		return IPv4
	}
	return IPv6
}

// IsPublic reports whether an address is one of the internet's: global unicast, and neither
// private (RFC 1918, RFC 4193) nor between providers and their customers (RFC 6598).
func IsPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

var shared = netip.MustParsePrefix("100.64.0.0/10")

// MarshalText implements encoding.TextMarshaler by String.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// State is what is known of an uplink in one family.
type State uint8

// The states; docs/DECISION.md has the table of their transitions.
const (
	// Unknown: not yet proven, neither good nor bad.
	Unknown State = iota
	// Absent: the family is not offered here, which is no fault.
	Absent
	// Up: a quorum of targets answers.
	Up
	// Degraded: answers, with loss, latency or jitter over its limit.
	Degraded
	// Suspect: a probe is late; a burst is under way to confirm it. Traffic stays.
	Suspect
	// Shunned: all of the burst is late. New flows go elsewhere, sessions stay.
	Shunned
	// Down: silent for longer than its patience, or without carrier, interface
	// or address. Sessions move.
	Down
	// Recovering: answers again after Down, and still has to prove itself.
	Recovering
)

var stateNames = [...]string{"unknown", "absent", "up", "degraded", "suspect", "shunned", "down", "recovering"}

// String returns the state as status and events write it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	panic(fmt.Sprintf("failover: unknown state %d", s))
}

// MarshalText implements encoding.TextMarshaler by String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Answering reports whether an uplink in this state has answered recently, so
// that traffic may be moved to it.
func (s State) Answering() bool {
	switch s {
	case Up, Degraded, Suspect, Recovering:
		return true
	case Unknown, Absent, Shunned, Down:
		return false
	}
	panic(fmt.Sprintf("failover: unknown state %d", s))
}

// silent reports whether no answer is expected in this state.
func (s State) silent() bool { return s == Absent || s == Shunned || s == Down }
