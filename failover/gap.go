package failover

import (
	"net/netip"
	"slices"
	"time"
)

// A link can briefly lose its source address or gateway: a DHCP client deletes the
// address at a renewal and adds it again, a network manager is restarted, a default
// route is withdrawn. New flows leave such a path at once. Its sessions stay for
// the patience; if the path is complete again by then, with one of its previous
// sources, nothing is reported. If it is complete and answers a little later, the next
// gap may be twice as long: a patience of its own, since how long an address is away
// says nothing of how long a silence is.

const (
	// pendingTime is how long to wait for an address that the kernel checks for
	// duplicates; the check takes one to two seconds.
	pendingTime = 3 * time.Second
	// lookAfter is how long a gateway may be withdrawn before the path is
	// suspected.
	lookAfter = 5 * time.Second
)

// gap is the period in which a path that carried lacks its source or its next hop.
type gap struct {
	open  bool
	since Instant
	// sources are the source addresses that it had before.
	sources []netip.Prefix
	// innocent: it answered when the gap began.
	innocent bool
	// healed: the gap has ended, with one of the previous sources; the path has yet
	// to be judged by that.
	healed bool
	// outlasted has the previous sources of a gap that became a down, until that begins.
	outlasted []netip.Prefix
}

// followLink opens a gap if the link has lost its source or next hop since before,
// ends it if the link is complete or down, and records since when the gateway is
// withdrawn. It must be called before the probes in flight become void.
func (p *path) followLink(t *turn, before *FamilyLink) {
	link, now := &p.up.link, &p.up.link.Family[p.family]
	there := link.Present && link.AdminUp && link.Carrier && link.VRF == ""
	switch {
	case p.gap.open && there && !now.Offered():
	case p.gap.open:
		healed := there && p.gap.innocent &&
			slices.ContainsFunc(now.Sources(), func(a netip.Prefix) bool { return slices.Contains(p.gap.sources, a) })
		p.gap = gap{healed: healed && p.state == Shunned}
		if there && p.state == Shunned {
			p.silent, p.paused = t.now, 0 // a new source has its own time to be answered
		}
	case there && !now.Offered() && before.Offered() && (p.class().Answering() || p.state == Shunned):
		p.lapses.forget(t.now)
		p.gap = gap{open: true, since: t.now, sources: before.Sources(), innocent: p.class().Answering()}
		if p.state == Suspect || p.state == Shunned {
			p.gap.since = p.silentSince()
		}
	}
	switch {
	case !now.Withdrawn:
		p.withdrawn, p.looked = never, false
	case p.withdrawn == never:
		p.withdrawn = t.now
	}
}

// end returns when a gap becomes a down; pending says that the kernel checks an
// address.
func (g *gap) end(patience time.Duration, pending bool) Instant {
	if pending {
		patience = max(patience, pendingTime)
	}
	return g.since + patience
}

// stranger reports whether the path was never known to answer since its link
// appeared, not even by an earlier run. It may be slow to start, and has no
// sessions. A path that is unknown because no probe can be sent is judged by its
// previous state.
func (p *path) stranger() bool {
	return p.state == Unknown && !p.vouched && !(p.unsent.blind && p.unsent.base.Answering())
}
