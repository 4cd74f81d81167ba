package system

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/control"
	"swerve/failover"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// origin is where flows come from, and what becomes of their addresses.
type origin struct {
	name  string
	place *netns.NS
	from  [2]netip.Addr // by family; not valid: the kernel chooses
	to    [2]netip.AddrPort
	// on are the sources on the wire, by uplink and family. A zero one is none: the flow
	// cannot leave there.
	on      [2][2]netip.Addr
	inbound bool
	uplink  int // where it begins
}

// The LAN's further networks: an owner's own, which in the first scenario no uplink
// translates, and one that only fiber carries as it is.
var (
	ownNetwork   = [2]netip.Prefix{netip.MustParsePrefix("192.168.11.0/24"), netip.MustParsePrefix("2001:db8:c1::/64")}
	fiberNetwork = [2]netip.Prefix{netip.MustParsePrefix("192.168.12.0/24"), netip.MustParsePrefix("2001:db8:c2::/64")}
	lanNetwork   = [2]netip.Prefix{lab.LAN4, lab.LAN6}
	networks     = [][2]netip.Prefix{lanNetwork, ownNetwork, fiberNetwork}
)

// hostsOf returns the addresses of a network's host: 1 is the gateway, 10 the client.
func hostsOf(network [2]netip.Prefix, n byte) (all [2]netip.Addr) {
	for f, p := range network {
		b := p.Addr().AsSlice()
		b[len(b)-1] = n
		if n == 10 && p.Addr().Is6() {
			b[len(b)-1] = 0x10
		}
		all[f], _ = netip.AddrFromSlice(b)
	}
	return all
}

// table is a gateway with flows of all kinds, and the record of their packets.
type table struct {
	*gateway
	*capture
	origins []*origin
	config  wired
	since   int // the position of the last check
	// forgotten: the kernel itself has moved flows, and forgotten what it masqueraded.
	forgotten bool

	// flows are the uplinks that they are on. The test's own goroutine alone writes, under
	// mu: another one has them ask.
	mu    sync.Mutex
	flows map[*flow]int
}

// wired is a configuration: the uplinks' order and their keys, and those of health.
type wired struct {
	order  []int
	keys   [2]string
	health string
}

func (w wired) String() string {
	text := "uplinks:\n"
	for _, uplink := range w.order {
		text += fmt.Sprintf("  - {name: %s, interface: wan%d, %s}\n", uplinkNames[uplink], uplink, w.keys[uplink])
	}
	return text + "probe: {interval: 400ms}\nfailback: {after: 1s, min_interval: 500ms}\nhealth: {" + w.health +
		"window: 5s, latency: {degraded: 150ms, clear: 100ms}, damping: {half_life: 2s, suppress: 12, reuse: 6}}\n"
}

// reload has the daemon take a configuration.
func (s *table) reload(w wired) {
	s.Helper()
	s.must(s.daemon.Configure(w.String()))
	if _, errs, code := s.swerve("reload"); code != 0 {
		s.Fatalf("swerve reload: %s", errs)
	}
}

// newTable starts a daemon, whose uplinks have these keys, and one flow of each kind,
// family and protocol.
func newTable(t *trial, keys [2]string, translated func(network [2]netip.Prefix, uplink int) bool) *table {
	t.Helper()
	config := wired{order: []int{fiber, lte}, keys: keys, health: "patience: 10s, "}
	s := &table{gateway: newGateway(t, usual, config.String()), config: config, flows: map[*flow]int{}}
	for _, network := range [][2]netip.Prefix{ownNetwork, fiberNetwork} {
		for f, p := range network {
			s.must(s.Gateway.AddAddr("lan0", netip.PrefixFrom(hostsOf(network, 1)[f], p.Bits())))
			s.must(s.Client.AddAddr("eth0", netip.PrefixFrom(hostsOf(network, 10)[f], p.Bits())))
		}
	}
	for _, network := range networks {
		for _, uplink := range []int{fiber, lte} {
			if !translated(network, uplink) {
				s.must(s.Carry(uplink, network[:]...))
			}
		}
	}
	s.serve(s.Internet, echoPort, lab.Servers[:]...)
	s.serve(s.Client, innerPort, lanClient[:]...)
	s.shell(forwards)
	var err error
	s.capture, err = startCapture(s.Gateway, "wan0", "wan1")
	s.must(err)
	t.Cleanup(s.capture.close)
	s.Start()
	s.Await("fiber to carry, and all to be up", lab.Settled)
	s.origins = s.originsOf(translated)
	s.since = s.position()
	s.begin()
	return s
}

// forwards is the owner's port forward from any uplink.
var forwards = fmt.Sprintf(`nft -f - <<'EOF'
table inet forwards {
  chain prerouting {
    type nat hook prerouting priority dstnat
    iifname "wan*" meta nfproto ipv4 meta l4proto { tcp, udp } th dport %[1]d dnat ip to 192.168.10.10
    iifname "wan*" meta nfproto ipv6 meta l4proto { tcp, udp } th dport %[1]d dnat ip6 to [fd00:10::10]
  }
}
EOF`, innerPort)

func (s *table) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *table) serve(place *netns.NS, port uint16, at ...netip.Addr) {
	s.Helper()
	e, err := traffic.ServeEcho(place, port, at...)
	s.must(err)
	s.Cleanup(e.Close)
}

// begin opens the flows, and has them ask until the end.
func (s *table) begin() {
	s.Helper()
	for _, o := range s.origins {
		for _, family := range failover.Families {
			for _, proto := range []string{"udp", "tcp"} {
				s.add(o, family, proto, o.uplink)
			}
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				for _, f := range s.all() {
					f.ask()
				}
			case <-stop:
				return
			}
		}
	}()
	s.Cleanup(func() {
		close(stop)
		<-stopped
		for _, f := range s.all() {
			f.close()
		}
	})
	s.live("at the beginning", s.all()...)
	s.as("at the beginning", func(f *flow) []way { return f.ways(s.flows[f]) })
}

func (s *table) add(o *origin, family failover.Family, proto string, uplink int) {
	s.Helper()
	f, err := open(o.place, o, proto, netip.AddrPortFrom(o.from[family], 0), o.to[family])
	s.must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flows[f] = uplink
}

func (s *table) all() (all []*flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.flows {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *flow) int { return int(a.port) - int(b.port) })
	return all
}

// ways are those of a flow that goes by these uplinks, one after the other.
func (f *flow) ways(uplinks ...int) (all []way) {
	for _, u := range uplinks {
		all = append(all, way{u, f.origin.on[u][f.family]})
	}
	return all
}

// live waits until each flow has been answered from now on, and checks that none has
// ended.
func (s *table) live(what string, flows ...*flow) {
	s.Helper()
	sent := map[*flow]uint64{}
	for _, f := range flows {
		sent[f] = f.sent.Load()
	}
	ctx, cancel := wait.Bounded(s.Context())
	defer cancel()
	for _, f := range flows {
		err := wait.Until(ctx, "an answer", func() bool { return f.hasEnded() != nil || f.answered.Load() > sent[f] })
		if ended := f.hasEnded(); ended != nil || err != nil {
			s.Errorf("%s: %s does not live on: %v, %v", what, f, ended, err)
		}
	}
}

// as checks that the packets of each flow since the last check left in certain ways,
// and no packet with a source that does not belong on its uplink.
func (s *table) as(what string, want func(*flow) []way) {
	s.Helper()
	left := s.from(s.since)
	s.since += len(left)
	for _, f := range s.all() {
		if got, want := waysOf(f, left), want(f); !slices.Equal(got, want) {
			s.Errorf("%s: %s left by %v, want %v", what, f, got, want)
		}
	}
	wrong := map[way]int{}
	for _, d := range left {
		if !s.belongs(d) {
			wrong[d.way]++
		}
	}
	if len(wrong) > 0 {
		s.Errorf("%s: packets with sources that do not belong there: %v", what, wrong)
	}
}

// belongs reports whether a packet may have left by its uplink.
func (s *table) belongs(d departure) bool {
	if d.source.IsLinkLocalUnicast() || d.source.IsUnspecified() || d.source == s.addressOf(d.uplink, d.family) {
		return true // the neighbours' protocols, probes, the gateway
	}
	return slices.ContainsFunc(s.origins, func(o *origin) bool { return o.on[d.uplink][d.family] == d.source })
}

// stay checks that each flow goes where it went. Callers by a silent uplink may be
// unheard.
func (s *table) stay(what string, silent ...int) {
	s.Helper()
	left := s.from(s.since)
	s.as(what, func(f *flow) []way {
		if f.origin.inbound && slices.Contains(silent, s.flows[f]) && len(waysOf(f, left)) == 0 {
			return nil
		}
		return f.ways(s.flows[f])
	})
	for _, f := range s.all() {
		if err := f.hasEnded(); err != nil {
			s.Errorf("%s: %s has ended: %v", what, f, err)
		}
	}
}

// freshGo waits until new flows of all kinds go by an uplink.
func (s *table) freshGo(what string, uplink int) {
	s.Helper()
	var tasks sync.WaitGroup
	for _, o := range s.origins {
		if o.inbound {
			continue
		}
		for _, family := range failover.Families {
			for _, proto := range []string{"udp", "tcp"} {
				tasks.Go(func() { s.oneFresh(what, o, family, proto, uplink) })
			}
		}
	}
	tasks.Wait()
}

func (s *table) oneFresh(what string, o *origin, family failover.Family, proto string, uplink int) {
	want := []way{{uplink, o.on[uplink][family]}}
	if !o.from[family].IsValid() {
		want[0].source = s.addressOf(uplink, family)
	}
	var last string
	ctx, cancel := wait.Bounded(s.Context())
	defer cancel()
	err := wait.Until(ctx, "a new flow", func() bool {
		f, err := open(o.place, o, proto, netip.AddrPortFrom(o.from[family], 0), o.to[family])
		if err != nil {
			last = err.Error()
			return false
		}
		defer f.close()
		begun := s.position()
		f.ask()
		soon := time.Now().Add(time.Second)
		for f.answered.Load() == 0 && time.Now().Before(soon) {
			time.Sleep(5 * time.Millisecond)
		}
		ways := waysOf(f, s.from(begun))
		last = fmt.Sprintf("left by %v, answered: %v", ways, f.answered.Load() > 0)
		return f.answered.Load() > 0 && slices.Equal(ways, want)
	})
	if err != nil {
		s.Errorf("%s: %s %s %s: %v; %s, want %v", what, o.name, family, proto, err, last, want)
	}
}

// fate is what becomes of a flow when fiber is lost.
type fate int

const (
	stays fate = iota
	moves
	ends
	waits // it has no address on the other uplink, and does not notice
)

func (f *flow) fate() fate {
	before, after := f.origin.on[fiber][f.family], f.origin.on[lte][f.family]
	switch {
	case f.origin.inbound:
		return stays
	case before == after || f.proto == "udp" && after.IsValid():
		return moves
	case f.proto == "tcp":
		return ends
	}
	return waits
}

// planned checks that a change of the owner's order of preference moves new flows alone.
func (s *table) planned() {
	s.Helper()
	lteFirst := s.config
	lteFirst.order = []int{lte, fiber}
	s.reload(lteFirst)
	s.Await("lte to carry, since it is preferred", lab.CarriedBy("lte"))
	s.freshGo("planned", lte)
	s.live("planned", s.all()...)
	s.stay("planned")
	s.reload(s.config)
	s.back("fiber is preferred again")
}

// back waits until fiber carries again, and checks that this moves new flows alone.
func (s *table) back(what string, silent ...int) {
	s.Helper()
	s.Await("fiber to carry: "+what, lab.Settled)
	s.freshGo(what, fiber)
	s.live(what, s.all()...)
	s.stay(what, silent...)
}

// inState waits until fiber has a state in both families, and lte carries.
func (s *table) inState(want control.State) {
	s.Helper()
	s.Await("fiber to be "+string(want)+", and lte to carry", func(now *control.Status) bool {
		return now.Uplinks[fiber].IPv4.State == want && now.Uplinks[fiber].IPv6.State == want && lab.Carries(now, "lte")
	})
}

// degraded and shunned check that these move new flows alone.
func (s *table) degraded() {
	s.Helper()
	f := s.Break(fiber, "delay=150ms")
	s.inState(control.Degraded)
	s.freshGo("degraded", lte)
	s.live("degraded", s.all()...)
	s.stay("degraded")
	s.Mend(f)
	s.back("no longer degraded")
}

func (s *table) shunned() {
	s.Helper()
	f := s.Break(fiber, "black-hole")
	s.inState(control.Shunned)
	s.freshGo("shunned", lte)
	s.stay("shunned", fiber)
	s.Mend(f)
	s.back("no longer shunned")
	for _, family := range failover.Families {
		if states := s.entered(fiber, family); slices.Contains(states, control.Down) {
			s.Errorf("%s entered %v, want no down yet", family, states)
		}
	}
}

// unheard is a fault by which callers are heard, and nobody hears the gateway: so it shows
// where their answers leave.
const unheard = "loss-out=100%"

// nowhereToGo checks that nothing is touched while no uplink is left.
func (s *table) nowhereToGo() {
	s.Helper()
	const what = "no viable target"
	plug := s.Break(lte, "carrier")
	s.Await("lte to be down", func(now *control.Status) bool {
		return now.Uplinks[lte].IPv4.State == control.Down && now.Uplinks[lte].IPv6.State == control.Down
	})
	f := s.Break(fiber, unheard)
	s.Await("all to be down", allDown)
	asked := map[*flow]uint64{}
	for _, f := range s.all() {
		asked[f] = f.sent.Load()
	}
	for _, f := range s.all() {
		s.Until("requests without an uplink", func() bool { return f.sent.Load() > asked[f]+10 })
	}
	s.stay(what, lte)
	s.Mend(f)
	s.Mend(plug)
	s.back("after "+what, lte)
}

// down checks that each flow has its fate, and that a return touches nothing.
func (s *table) down() { s.downBy(unheard) }

// unplugged is down by a fault with which the kernel itself sends packets by lte before
// the verdict, and forgets what it masquerades.
func (s *table) unplugged(fault string) {
	s.forgotten = true
	s.downBy(fault, fiber)
}

func (s *table) downBy(fault string, silent ...int) {
	s.Helper()
	what := "down by " + fault
	s.live("before "+what, s.all()...)
	f := s.Break(fiber, fault)
	s.inState(control.Down)
	for _, f := range s.all() {
		switch fate := f.fate(); {
		case fate == ends:
			s.Until(f.String()+" to end", func() bool { return f.hasEnded() != nil })
			if !wasReset(f.hasEnded()) {
				s.Errorf("%s: %s ended by %v, want a reset", what, f, f.hasEnded())
			}
		case s.deaf(f): // what it sends is refused
		case fate == moves || s.flows[f] == lte:
			s.live(what, f)
		case f.hasEnded() != nil:
			s.Errorf("%s: %s ended by %v", what, f, f.hasEnded())
		}
	}
	left := s.from(s.since)
	s.as(what, func(f *flow) []way {
		if s.deaf(f) && len(waysOf(f, left)) == 1 { // or it left by lte while it still had its address
			return f.ways(s.flows[f])
		}
		early := s.forgotten && f.fate() == ends && slices.Equal(waysOf(f, left), f.ways(fiber, lte))
		if f.fate() == moves || early && f.origin.on[lte][f.family] == s.addressOf(lte, f.family) {
			return f.ways(fiber, lte)
		}
		return f.ways(s.flows[f])
	})
	s.freshGo(what, lte)
	s.anew()
	s.Mend(f)
	s.back("failback after "+what, silent...)
}

// wasReset reports whether the kernel has ended a connection; EPIPE is the second report
// of a reset.
func wasReset(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EPIPE)
}

// deaf reports whether a socket cannot receive, since the kernel has taken its address
// away.
func (s *table) deaf(f *flow) bool {
	local := f.conn.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr()
	out, err := s.Gateway.Run("ip", "-o", "addr", "show", "to", local.Unmap().String())
	return f.origin.place == s.Gateway && f.proto == "udp" && (err != nil || out == "")
}

// anew follows the flows to lte, where applications connect again.
func (s *table) anew() {
	s.Helper()
	for _, f := range s.all() {
		switch fate := f.fate(); {
		case fate == moves && s.deaf(f): // heard again when the address is back, by either
			f.close()
			s.mu.Lock()
			delete(s.flows, f)
			s.mu.Unlock()
		case fate == moves:
			s.mu.Lock()
			s.flows[f] = lte
			s.mu.Unlock()
		case fate == ends: // the application connects anew
			f.close()
			s.mu.Lock()
			delete(s.flows, f)
			s.mu.Unlock()
			anew := *f.origin
			if !anew.from[f.family].IsValid() {
				anew.on[lte][f.family] = s.addressOf(lte, f.family)
			}
			s.add(&anew, f.family, f.proto, lte)
		}
	}
}

// play plays the table's lines.
func (s *table) play(lines ...func()) {
	for _, line := range lines {
		began := time.Now()
		line()
		s.Logf("took %v", time.Since(began).Round(time.Millisecond))
		if s.Failed() {
			return
		}
	}
}

// quick has further verdicts fall with the default patience.
func (s *table) quick() {
	s.Helper()
	s.config.health = ""
	s.reload(s.config)
}

// originsOf are those of both scenarios: LAN clients by their networks, the gateway, and
// callers by a port forward.
func (s *table) originsOf(translated func(network [2]netip.Prefix, uplink int) bool) (origins []*origin) {
	servers := [2]netip.AddrPort{}
	for _, f := range failover.Families {
		servers[f] = netip.AddrPortFrom(lab.Servers[f], echoPort)
	}
	var own [2][2]netip.Addr
	for _, uplink := range []int{fiber, lte} {
		for _, f := range failover.Families {
			own[uplink][f] = s.addressOf(uplink, f)
		}
	}
	for i, name := range []string{"LAN", "own network", "fiber's network"} {
		network := networks[i]
		for _, who := range []struct {
			name  string
			place *netns.NS
			host  byte
		}{{"client", s.Client, 10}, {"gateway", s.Gateway, 1}} {
			o := &origin{name: who.name + " of the " + name, place: who.place, from: hostsOf(network, who.host), to: servers}
			for uplink := range own {
				o.on[uplink] = o.from
				if translated(network, uplink) {
					o.on[uplink] = own[uplink]
				}
			}
			origins = append(origins, o)
		}
	}
	for uplink := range own {
		o := &origin{name: "caller by " + uplinkNames[uplink], place: s.Internet, inbound: true, uplink: uplink}
		o.on[uplink] = own[uplink]
		for _, f := range failover.Families {
			o.to[f] = netip.AddrPortFrom(own[uplink][f], innerPort)
		}
		origins = append(origins, o)
	}
	gateway := &origin{name: "gateway", place: s.Gateway, to: servers}
	gateway.on[fiber] = own[fiber]
	if translated(lanNetwork, lte) {
		gateway.on[lte] = own[lte]
	}
	return append(origins, gateway)
}

// The table of what happens to sessions, as packets on the wire: by which uplink each
// leaves, with which source, which connection is reset, and which lives.
func TestSessionsOnTheWire(t *testing.T) {
	t.Parallel()
	exceptions := [2]string{
		`snat_except: [192.168.11.0/24, 192.168.12.0/24], prefix6: ["2001:db8:c1::/64", "2001:db8:c2::/64"]`,
		`snat_except: 192.168.11.0/24, prefix6: "2001:db8:c1::/64"`,
	}
	translated := func(network [2]netip.Prefix, uplink int) bool {
		return network == lanNetwork || network == fiberNetwork && uplink == lte
	}
	t.Run("translated, and exceptions", func(t *testing.T) {
		scenario(t, func(t *trial) {
			s := newTable(t, exceptions, translated)
			s.play(s.planned, s.degraded, s.shunned, s.quick, s.nowhereToGo, s.down)
		})
	})
	for _, fault := range []string{"carrier", "interface-down"} {
		t.Run("translated, "+fault, func(t *testing.T) {
			scenario(t, func(t *trial) {
				s := newTable(t, exceptions, translated)
				s.play(func() { s.unplugged(fault) })
			})
		})
	}
	t.Run("nothing translated", func(t *testing.T) {
		keys := [2]string{"snat: none, snat6: none", "snat: none, snat6: none"}
		scenario(t, func(t *trial) {
			s := newTable(t, keys, func([2]netip.Prefix, int) bool { return false })
			s.play(s.planned, s.shunned, s.quick, s.nowhereToGo, s.down)
		})
	})
}
