package failover

import (
	"net/netip"
	"slices"
	"time"
)

// A link can lose for a moment what it needs: a DHCP client deletes the address at a
// renewal and adds it again, a network manager is restarted, a default route is
// withdrawn. New flows leave such a path at once. Its sessions stay for the patience,
// and where it is whole again by then, with a source that it had, nothing has
// happened.

const (
	// pendingTime is how long an address that the kernel checks for duplicates is
	// waited for; the check takes one to two seconds.
	pendingTime = 3 * time.Second
	// lookAfter is how long a gateway may be withdrawn until that is a reason to look.
	lookAfter = 5 * time.Second
)

// gap is the time in which a path that carried lacks its source or its next hop.
type gap struct {
	open  bool
	since Instant
	// sources that it had before.
	sources []netip.Prefix
	// innocent: it answered when the gap began.
	innocent bool
	// healed: the gap has ended, with a source of before; the path has yet to
	// conclude from it.
	healed bool
}

// followLink opens a gap where the link has lapsed since it was as before, ends it
// where the link is whole or cut, and notes since when the gateway is withdrawn. It
// comes before what was in flight becomes void.
func (p *path) followLink(t *turn, before *FamilyLink) {
	link, now := &p.up.link, &p.up.link.Family[p.family]
	there := link.Present && link.AdminUp && link.Carrier
	switch {
	case p.gap.open && there && !now.Offered():
	case p.gap.open:
		healed := there && p.gap.innocent &&
			slices.ContainsFunc(now.Sources(), func(a netip.Prefix) bool { return slices.Contains(p.gap.sources, a) })
		p.gap = gap{healed: healed && p.state == Shunned}
		if there && p.state == Shunned {
			p.silent = t.now // another source has its own time to be answered
		}
	case there && !now.Offered() && before.Offered() && (p.class().Answering() || p.state == Shunned):
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

// gapEnd is when a gap is a down.
func (p *path) gapEnd() Instant {
	wait := p.patience.now
	if p.up.link.Family[p.family].Pending {
		wait = max(wait, pendingTime)
	}
	return p.gap.since + wait
}

// look makes a gateway that is withdrawn for long a reason for suspicion, once: what
// is proven by that is for the probes to say.
func (p *path) look(now Instant) {
	if p.withdrawn == never || p.looked || now < p.withdrawn+lookAfter || !p.schedule.probing {
		return
	}
	p.looked = true
	if p.cause == "" && p.class().Answering() && p.state != Suspect {
		p.cause = "the route to the gateway is gone for " + span(now-p.withdrawn)
	}
}

// stranger reports whether the path was never known to answer since its link came,
// by an earlier run neither. It may be slow to start; nobody has sessions there. One
// that is unknown because no probe can be sent is what it was before.
func (p *path) stranger() bool {
	return p.state == Unknown && !p.vouched && !(p.unsent.blind && p.unsent.base.Answering())
}
