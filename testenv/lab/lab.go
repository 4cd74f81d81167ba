package lab

import (
	"context"
	"fmt"
	"sync"
	"time"

	"swerve/control"
	"swerve/testenv/netns"
	"swerve/testenv/wait"
	"swerve/testenv/wire"
)

// Announce selects how default routes come to the gateway.
type Announce int

const (
	// AnnounceAll installs the routes that a DHCP client and router advertisements leave.
	AnnounceAll Announce = iota
	// AnnounceNone installs addresses only: the test adds routes itself.
	AnnounceNone
	// AnnounceNothing leaves the gateway's namespace empty, with its links up: the
	// gateway is a machine elsewhere, on the other end of cables to these links.
	AnnounceNothing
)

// Firewall selects what the gateway's owner has in nftables: table inet lab.
type Firewall int

const (
	// FirewallTrack has a rule that accepts established flows, so that conntrack
	// is active.
	FirewallTrack Firewall = iota
	// FirewallMasquerade also masquerades what leaves by an uplink: all IPv4, and
	// unique local IPv6.
	FirewallMasquerade
	// FirewallNone is an empty ruleset: nothing is tracked.
	FirewallNone
)

// Options of a lab. The zero value is two uplinks, one client, 20 ms of round
// trip time, IPv6 everywhere.
type Options struct {
	Uplinks  int           // 1 to MaxUplinks; 0: 2
	Clients  int           // on the LAN, 1 to 200; 0: 1. Several are behind a switch
	Delay    time.Duration // one way over each wire; 0: 10 ms, negative: none
	NoIPv6   bool          // nobody has IPv6
	IPv4Only []int         // uplinks (from 0) that offer no IPv6
	Delegate bool          // the LAN also has LANNative, routed to uplink 0
	Twins    bool          // uplinks are identical in IPv4, like modems of one model: see twinsOf
	Announce Announce
	Firewall Firewall
	RPFilter int    // the gateway's: 0 off, 1 strict, 2 loose
	Seed     uint64 // of the wires' random loss and jitter
}

func (o Options) withDefaults() (Options, error) {
	if o.Uplinks == 0 {
		o.Uplinks = 2
	}
	if o.Clients == 0 {
		o.Clients = 1
	}
	if o.Delay == 0 {
		o.Delay = 10 * time.Millisecond
	}
	o.Delay = max(o.Delay, 0)
	switch {
	case o.Uplinks < 1 || o.Uplinks > MaxUplinks:
		return o, fmt.Errorf("lab: %d uplinks; want 1 to %d", o.Uplinks, MaxUplinks)
	case o.Clients < 1 || o.Clients > 200:
		return o, fmt.Errorf("lab: %d clients; want 1 to 200", o.Clients)
	}
	return o, nil
}

// Lab is a running lab. Tests inspect its namespaces and break things in them.
type Lab struct {
	Options  Options // with the defaults filled in
	Gateway  *netns.NS
	Client   *netns.NS // the first of Clients
	Clients  []*netns.NS
	Internet *netns.NS
	ISP      []*netns.NS
	Wire     []*wire.Wire
	Uplinks  []Uplink // the plan of each

	hidden   *netns.NS // the wires' peers, and the switch
	all      []*netns.NS
	life     context.Context // ends at Close: of advertisers, flapping, waits
	cancel   context.CancelFunc
	tasks    sync.WaitGroup // advertisers, flapping
	routers  []*advertiser
	mu       sync.Mutex
	daemons  []*Daemon
	clients  []*control.Client // of the daemons' sockets
	closed   bool
	carrying bool // see Carry
	shutdown sync.Once
}

// New builds a lab and waits until its gateway has what Options promise. Close it
// when done.
func New(opts Options) (*Lab, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	lab := &Lab{Options: opts}
	lab.life, lab.cancel = context.WithCancel(context.Background())
	for i := range opts.Uplinks {
		lab.Uplinks = append(lab.Uplinks, planOf(i))
	}
	if opts.Twins {
		lab.Uplinks = twinsOf(lab.Uplinks)
	}
	if err := lab.build(); err != nil {
		lab.Close()
		return nil, fmt.Errorf("lab: build the lab: %w", err)
	}
	return lab, nil
}

// NewTest builds a lab for a test and closes it when the test is over. If the test
// fails, the log reports how late the wires were: a pause of the machine may be the
// cause.
func NewTest(t TB, opts Options) *Lab {
	t.Helper()
	lab, err := New(opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("lab: the wires were late by up to %v", lab.Lateness())
		}
		lab.Close()
	})
	return lab
}

// Close ends the daemons, faults and wires and releases the namespaces.
func (lab *Lab) Close() {
	lab.shutdown.Do(func() {
		for _, d := range lab.closeDaemons() {
			d.discard()
		}
		for _, c := range lab.clients {
			c.Close()
		}
		lab.cancel()
		lab.tasks.Wait()
		for _, w := range lab.Wire {
			w.Close()
		}
		for _, ns := range lab.all {
			ns.Close()
		}
	})
}

// HasIPv6 reports whether an uplink offers IPv6.
func (lab *Lab) HasIPv6(uplink int) bool {
	if lab.Options.NoIPv6 {
		return false
	}
	for _, i := range lab.Options.IPv4Only {
		if i == uplink {
			return false
		}
	}
	return true
}

// MarkLateness resets the lateness of all wires.
func (lab *Lab) MarkLateness() {
	for _, w := range lab.Wire {
		w.MarkLateness()
	}
}

// Lateness is the worst of all wires since the last mark. A measurement with a
// lateness over 25 ms is void.
func (lab *Lab) Lateness() (worst time.Duration) {
	for _, w := range lab.Wire {
		worst = max(worst, w.Lateness())
	}
	return worst
}

// open makes a namespace that is closed with the lab.
func (lab *Lab) open() (*netns.NS, error) {
	ns, err := netns.Open()
	if err == nil {
		lab.all = append(lab.all, ns)
	}
	return ns, err
}

// kernelPatience bounds each wait for something that the kernel does within moments.
const kernelPatience = 10 * time.Second

// await polls, for at most kernelPatience.
func await(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, kernelPatience)
	defer cancel()
	return wait.Until(ctx, what, holds)
}
