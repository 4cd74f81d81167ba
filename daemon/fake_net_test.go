package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"swerve/failover"
	"swerve/linkmon"
	"swerve/testenv/fake"
)

// line is an interface with the network behind it.
type line struct {
	link failover.Link
	// rtt is the time until a target answers; black marks the families in which
	// none does.
	rtt   time.Duration
	black [2]bool
}

// newLine returns a working line, with addresses derived from its index, each in a
// network of its own. The lower the index, the sooner it answers, so that no two
// answers arrive at once.
func newLine(name string, index int) *line {
	n := byte(index)
	link := failover.Link{Interface: name, Index: index, Present: true, AdminUp: true, Carrier: true}
	link.Family[failover.IPv4] = failover.FamilyLink{
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 32)},
		Gateway:   netip.AddrFrom4([4]byte{192, 0, 2, 100 + n}), Source: "dhcp",
	}
	v6 := netip.MustParseAddr("2001:db8::").As16()
	v6[5], v6[15] = n, 2
	router := netip.MustParseAddr("fe80::1").As16()
	router[14] = n
	link.Family[failover.IPv6] = failover.FamilyLink{
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16(v6), 64)},
		Gateway:   netip.AddrFrom16(router), Source: "ra",
	}
	return &line{link: link, rtt: 19*time.Millisecond + time.Duration(index)*time.Millisecond}
}

// fakeNet is a network of lines, in the virtual time of its synctest bubble. It
// reports links and answers probes as *linkmon.Monitor does.
type fakeNet struct {
	clock                  func() failover.Instant
	ready, repair, changed chan struct{}
	ownChanged             chan struct{}

	mu       sync.Mutex
	lines    map[string]*line // by the interface that uplinks name
	watched  []linkmon.Uplink
	defaults []linkmon.Default
	own      []netip.Addr
	lan      linkmon.LAN
	// proofs are those that were asked for; carried has, by uplink, the prefixes whose
	// sources it carries.
	proofs  []linkmon.Proof
	carried map[string][]netip.Prefix
	box     []linkmon.Observation
	// asked counts probes by uplink; wrong are those with another mark or device
	// than their uplink's, and unbound counts those that no rule kept on their
	// device.
	asked   map[string]int
	asked6  map[string]int // the IPv6 ones
	wrong   []string
	unbound int
	// bound reports whether rules keep probes on a device.
	bound func(device string) bool
}

func newFakeNet() *fakeNet {
	return &fakeNet{
		ready: make(chan struct{}, 1), repair: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		ownChanged: make(chan struct{}, 1),
		lines:      map[string]*line{}, asked: map[string]int{}, asked6: map[string]int{},
	}
}

func (n *fakeNet) Ready() <-chan struct{}           { return n.ready }
func (n *fakeNet) Repair() <-chan struct{}          { return n.repair }
func (n *fakeNet) DefaultsChanged() <-chan struct{} { return n.changed }

func (n *fakeNet) OwnChanged() <-chan struct{} { return n.ownChanged }

func (n *fakeNet) Own() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.own)
}

// setOwn sets the machine's addresses, on whatever device.
func (n *fakeNet) setOwn(all ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.own = nil
	for _, a := range all {
		n.own = append(n.own, netip.MustParseAddr(a))
	}
	fake.Poke(n.ownChanged)
}

func (n *fakeNet) LAN() linkmon.LAN {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lan
}

func (n *fakeNet) setLAN(change func(*linkmon.LAN)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(&n.lan)
	fake.Poke(n.ownChanged)
}

// Prove answers after the line's time where the line carries the source as it is.
func (n *fakeNet) Prove(p linkmon.Proof, report func(sent, answered bool)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proofs = append(n.proofs, p)
	l := n.lineOf(p.Uplink)
	answered := !l.black[failover.IPv6] && slices.ContainsFunc(n.carried[p.Uplink], func(c netip.Prefix) bool { return c.Contains(p.Source) })
	wait := p.Wait
	if answered {
		wait = l.rtt
	}
	time.AfterFunc(wait, func() { report(true, answered) })
	return true
}

func (n *fakeNet) Take() []linkmon.Observation {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.box
	n.box = nil
	return all
}

func (n *fakeNet) Defaults() []linkmon.Default {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.defaults)
}

func (n *fakeNet) SetUplinks(uplinks []linkmon.Uplink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	uplinks = slices.Clone(uplinks)
	for i, u := range uplinks {
		uplinks[i].Held = nil
		if !slices.Contains(n.watched, uplinks[i]) {
			n.tell(u)
		}
	}
	n.watched = uplinks
}

// Reread would report a link that has changed; here changes are reported at once.
func (n *fakeNet) Reread(string) {}

func (n *fakeNet) Send(p failover.Probe, path linkmon.Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[p.Uplink]++
	if p.Family == failover.IPv6 {
		n.asked6[p.Uplink]++
	}
	l := n.lineOf(p.Uplink)
	if l == nil || !l.link.Present || !l.link.AdminUp || !l.link.Carrier {
		n.put(failover.ProbeNotSent{ID: p.ID, Cause: "the interface is missing"})
		return
	}
	if !path.Link.Equal(l.link) || path.Mark == 0 && n.bound(l.link.Interface) || path.LostAfter != time.Second || path.Target.Text != p.Target {
		n.wrong = append(n.wrong, fmt.Sprintf("%s by %+v", p.Uplink, path))
	}
	if !n.bound(l.link.Interface) {
		n.unbound++
	}
	n.put(failover.ProbeSent{ID: p.ID})
	if l.black[p.Family] {
		return
	}
	rtt := l.rtt
	time.AfterFunc(rtt, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !l.black[p.Family] && l.link.Carrier {
			n.put(failover.ProbeAnswered{ID: p.ID, RTT: rtt})
		}
	})
}

// change changes a line, and reports the links of its uplinks that changed with it.
func (n *fakeNet) change(name string, how func(*line)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.lines[name]
	before := l.link
	how(l)
	if l.link.Equal(before) {
		return
	}
	for _, u := range n.watched {
		if u.Interface == name {
			n.tell(u)
		}
	}
}

// addLine adds an interface.
func (n *fakeNet) addLine(name string, index int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines[name] = newLine(name, index)
}

// setDefaults sets the default routes of other programs.
func (n *fakeNet) setDefaults(all ...linkmon.Default) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.defaults = all
	fake.Poke(n.changed)
}

func (n *fakeNet) lineOf(uplink string) *line {
	for _, u := range n.watched {
		if u.Name == uplink {
			return n.lines[u.Interface]
		}
	}
	return nil
}

func (n *fakeNet) tell(u linkmon.Uplink) {
	event := failover.LinkChanged{Uplink: u.Name}
	if l := n.lines[u.Interface]; l != nil {
		event.Link = l.link
	}
	n.put(event)
}

func (n *fakeNet) put(e failover.Event) {
	n.box = append(n.box, linkmon.Observation{At: n.clock(), Event: e})
	fake.Poke(n.ready)
}
