package daemon

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"swerve/config"
	"swerve/failover"
	"swerve/linkmon"
	"swerve/target"
)

// Which IPv6 prefixes of the LAN are native on an uplink is proven by probes: from an
// address of this machine in the prefix, by the uplink and not translated. An answer that
// comes back by the same uplink shows that its provider routes the prefix here.

const (
	// provingFirst is the pause after a first proof that failed; it doubles up to
	// provingAgain, after which what is proven is proven again.
	provingFirst = time.Second
	provingAgain = 10 * time.Minute
	// provingWait is how long answers are waited for.
	provingWait = 2 * time.Second
	// provingSettled is how long a new prefix waits for uplinks of which nothing is known.
	provingSettled = time.Second
	// provingTargets bounds the targets of one proof, provingPrefixes the prefixes.
	provingTargets  = 4
	provingPrefixes = 16
	// provingMisses in a row, while the uplink answers, disprove what was proven.
	provingMisses = 3
	// provenFor is how long a prefix stays native after its last address here is gone.
	provenFor = time.Minute
)

// A packet's way back is one, so a prefix can be proven on one uplink alone: where it is
// native somewhere no other one is asked, and no packet leaves by the wrong line. Before
// that they are asked one after the other, first the one whose own addresses are most like
// the prefix.

// prover knows the proofs that are due. It is the loop's.
type prover struct {
	proofs map[netip.Prefix]*proof
	// here are the prefixes that had an address of this machine, gone since when they
	// have none any more.
	here map[netip.Prefix]bool
	gone map[netip.Prefix]failover.Instant
	// next is when there is something to do by itself; stirred: something has changed that
	// may make proofs due.
	next    failover.Instant
	stirred bool
}

// proof is what is known of one prefix.
type proof struct {
	running bool
	// born is when the prefix was first seen.
	born, due failover.Instant
	pause     time.Duration
	// turn counts the uplinks that were asked, missed the failures in a row where the
	// prefix is native.
	turn, missed int
	// answered is when the last proof succeeded, by which uplink; negative before.
	answered failover.Instant
	by       string
	// ways are those by which it can be proven now: a new proof is due when they change.
	ways []provingWay
}

// provingWay is one way to prove a prefix.
type provingWay struct {
	uplink string
	index  int
	source netip.Addr
	// holds: the prefix is native on the uplink.
	holds bool
}

func newProver() prover {
	return prover{proofs: map[netip.Prefix]*proof{}, here: map[netip.Prefix]bool{}, gone: map[netip.Prefix]failover.Instant{}}
}

// stir has the next pass look for proofs that are due.
func (p *prover) stir() { p.stirred = true }

// prove starts the proofs that are due, and forgets prefixes that are gone.
func prove(l *loop, now failover.Instant) {
	p := &l.prover
	if !p.stirred && now < p.next || !l.enforcer.kernel.standing || l.enforcer.stale || !l.setup.mayAct() {
		return
	}
	p.stirred, p.next = false, now+provingAgain
	sources := map[netip.Prefix]netip.Addr{}
	for _, a := range l.picture.trials() {
		if _, known := sources[a.Masked()]; !known && len(sources) < provingPrefixes {
			sources[a.Masked()] = a.Addr()
		}
	}
	for prefix, source := range sources {
		ways, pending := provingWays(l, prefix, source)
		proveOne(l, now, prefix, ways, pending)
	}
	for prefix := range p.proofs {
		if _, wanted := sources[prefix]; !wanted {
			delete(p.proofs, prefix)
		}
	}
	forgetGone(l, now)
}

// provingWays returns the ways by which a prefix can be proven now, in this order: only
// the uplink on which it was found or proven to be native, if there is one; none where it
// is native by what is configured, or by an uplink's own network or routes. pending: it
// is not known yet of an uplink whether it answers.
func provingWays(l *loop, prefix netip.Prefix, source netip.Addr) (out []provingWay, pending bool) {
	alike := map[string]int{}
	for _, u := range l.setup.uplinks {
		link, last := l.picture.links[u.Name], l.picture.last[u.Name]
		fixed := slices.Concat(u.Prefix6.Prefixes, last.prefixes, last.sources(failover.IPv6))
		if !u.Enabled || !u.IPv6 {
			continue
		}
		if slices.ContainsFunc(fixed, func(p netip.Prefix) bool { return p.Contains(source) }) {
			return nil, false
		}
		// Where nothing or everything is translated, it does not matter what is native.
		learns := learns(u, failover.IPv6) && u.SNAT6 == config.Foreign
		way := provingWay{uplink: u.Name, index: link.Index, source: source}
		if learns && slices.ContainsFunc(l.setup.native[u.Name], func(p netip.Prefix) bool { return p.Contains(source) }) {
			way.holds = true
			return []provingWay{way}, false
		}
		_, adopted := l.setup.native[u.Name]
		asks := adopted && learns && len(provingTargetsOf(l, u.Name)) > 0 && link.Routable(failover.IPv6)
		state := state6(l, u.Name)
		pending = pending || asks && state == failover.Unknown
		if asks && state.Answering() {
			for _, a := range last.sources(failover.IPv6) {
				alike[u.Name] = max(alike[u.Name], common(prefix, []netip.Addr{a.Addr()}))
			}
			out = append(out, way)
		}
	}
	slices.SortStableFunc(out, func(a, b provingWay) int { return cmp.Compare(alike[b.uplink], alike[a.uplink]) })
	return out, pending
}

// trials returns the addresses of this machine that proofs are sent from: those of the
// LAN that are no uplink's source.
func (p picture) trials() []netip.Prefix {
	used := map[netip.Addr]bool{}
	for _, r := range p.last {
		for _, a := range r.sources(failover.IPv6) {
			used[a.Addr()] = true
		}
	}
	for _, link := range p.links {
		for _, a := range link.Family[failover.IPv6].Elsewhere {
			used[a.Addr()] = true // its own probes, too, are sent from there now
		}
	}
	return slices.DeleteFunc(slices.Clone(p.lan.Addresses), func(a netip.Prefix) bool { return used[a.Addr()] })
}

// proveOne starts one proof if it is due.
func proveOne(l *loop, now failover.Instant, prefix netip.Prefix, ways []provingWay, pending bool) {
	v := l.prover.proofs[prefix]
	if v == nil {
		v = &proof{born: now, answered: -1}
		l.prover.proofs[prefix] = v
	}
	if v.running {
		return // its end comes back here
	}
	if pending && now-v.born < provingSettled {
		l.prover.next = min(l.prover.next, v.born+provingSettled)
		return // the one that is most like the prefix may be the next to answer
	}
	if !slices.Equal(v.ways, ways) {
		v.ways, v.pause, v.turn, v.missed = ways, provingFirst, 0, 0
		if len(ways) != 1 || v.by != ways[0].uplink {
			v.due = now // else it was proven just now
		}
	}
	if len(ways) == 0 {
		return
	}
	way := ways[v.turn%len(ways)]
	if !answers6(l, way.uplink) {
		return // the uplink's next change comes back here
	}
	targets := provingTargetsOf(l, way.uplink)
	if now < v.due || len(targets) == 0 {
		l.prover.next = min(l.prover.next, max(v.due, now+provingFirst))
		return
	}
	v.running = l.net.Prove(linkmon.Proof{
		Uplink: way.uplink, Device: l.picture.links[way.uplink].Interface, Mark: l.setup.mark(way.uplink), Source: way.source,
		Targets: targets, Wait: provingWait,
	}, func(sent, answered bool) {
		_ = l.ask(context.Background(), func() { proofEnded(l, prefix, way, sent, answered) })
	})
	if !v.running {
		l.prover.next = min(l.prover.next, now+provingFirst)
		return
	}
	for range targets {
		l.reporter.counters.probe(way.uplink, provingBytes)
	}
}

// provingBytes are those of one echo request and its answer on the wire.
const provingBytes = 2 * (14 + 40 + 8 + 16)

// answers6 reports whether an uplink answers its own probes by IPv6.
func answers6(l *loop, uplink string) bool {
	link := l.picture.links[uplink]
	return state6(l, uplink).Answering() && link.Routable(failover.IPv6)
}

// state6 returns an uplink's state in IPv6.
func state6(l *loop, uplink string) failover.State {
	for _, u := range l.engineView().Uplinks {
		if u.Name == uplink {
			return u.Family[failover.IPv6].State
		}
	}
	return failover.Absent
}

// provingTargetsOf returns the addresses that an uplink's proofs ask.
func provingTargetsOf(l *loop, uplink string) []netip.Addr {
	var out []netip.Addr
	for _, u := range l.setup.engine.Uplinks {
		if u.Name != uplink {
			continue
		}
		for _, text := range u.Family[failover.IPv6].Targets {
			if t := l.setup.targets[text]; t.Method == target.ICMP && t.Addr.Is6() && len(out) < provingTargets {
				out = append(out, t.Addr)
			}
		}
	}
	return out
}

// proofEnded takes the outcome of a proof.
func proofEnded(l *loop, prefix netip.Prefix, way provingWay, sent, answered bool) {
	l.prover.stir()
	v := l.prover.proofs[prefix]
	if v == nil {
		return
	}
	v.running = false
	if !slices.Contains(v.ways, way) {
		return
	}
	now := l.clock.now()
	proven := slices.Contains(l.state.Proven[way.uplink], prefix)
	switch {
	case answered:
		v.missed, v.pause, v.answered, v.by, v.due = 0, provingFirst, now, way.uplink, now+provingAgain
		if !proven {
			setNative(l, way.uplink, prefix, true)
			l.log.Info("a prefix of the LAN is native", "uplink", way.uplink, "prefix", prefix, "by", "an answer to "+way.source.String())
		}
		return
	case sent && answers6(l, way.uplink):
		v.missed++
	}
	v.turn++
	if v.due = now; v.turn%len(v.ways) == 0 { // all were asked
		v.due = now + v.pause
		v.pause = min(2*v.pause, provingAgain)
	}
	if way.holds && proven && v.missed >= provingMisses {
		setNative(l, way.uplink, prefix, false)
		v.by = ""
		l.log.Warn("a prefix of the LAN is not native any more: it is masqueraded", "uplink", way.uplink, "prefix", prefix,
			"unanswered", v.missed, "from", way.source)
	}
}

// setNative adds a prefix to those that are native on an uplink, and proven to be, or
// removes it.
func setNative(l *loop, uplink string, p netip.Prefix, native bool) {
	change := func(s natives) natives {
		list := slices.DeleteFunc(slices.Clone(s[uplink]), func(q netip.Prefix) bool { return q == p })
		if native {
			list = append(list, p)
		}
		return natives{uplink: bounded(list)}.with(s.without(uplink))
	}
	l.setup.native, l.state.Native = change(l.setup.native), change(l.state.Native)
	l.state.Proven = change(l.state.Proven)
	l.enforcer.stale, l.changed = true, true
}

// without returns the entries of all uplinks but one.
func (s shown[T]) without(uplink string) shown[T] {
	out := shown[T]{}
	for name, list := range s {
		if name != uplink {
			out[name] = list
		}
	}
	return out
}

// forgetGone forgets native prefixes in which this machine has no address any more. What
// flows showed at the first start is forgotten only once another one was proven since.
func forgetGone(l *loop, now failover.Instant) {
	p := &l.prover
	for uplink, list := range l.setup.native {
		for _, native := range list {
			if native.Addr().Is4() {
				continue
			}
			if slices.ContainsFunc(l.picture.lan.Addresses, func(a netip.Prefix) bool { return native.Contains(a.Addr()) }) {
				p.here[native] = true
				delete(p.gone, native)
				continue
			}
			proven := slices.Contains(l.state.Proven[uplink], native)
			if !proven && !p.here[native] {
				continue // of a router behind this one
			}
			since, known := p.gone[native]
			if !known {
				since, p.gone[native] = now, now
			}
			renewed := false
			for _, v := range p.proofs {
				renewed = renewed || v.by == uplink && v.answered > since
			}
			switch {
			case renewed, proven && now-since >= provenFor:
				setNative(l, uplink, native, false)
				l.log.Info("a native prefix is gone", "uplink", uplink, "prefix", native)
			case proven:
				p.next = min(p.next, since+provenFor)
			}
		}
	}
}
