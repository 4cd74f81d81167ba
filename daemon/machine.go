package daemon

import (
	"context"
	"net/netip"
	"time"

	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/linkmon"
	"swerve/routing"
)

// Machine is what the daemon watches, changes and reports to. Run works on the real
// one; tests and the simulator provide their own. Its parts are not called
// concurrently, except Flows, Bytes, NewFlows and Events, which several goroutines
// use.
type Machine struct {
	Network Network
	Routes  Routes
	Packets Packets
	Sysctls Sysctls
	Flows   Flows
	// Walks is as Flows, for another goroutine.
	Walks Flows
	// ListClients lists the clients that Flows.Poke pokes at once, see firewall.Roster;
	// nil if they are not listed.
	ListClients func(lane.Layout) (known int, err error)
	// Finder tells where the kernel sends packets; nil if it cannot be asked.
	Finder Finder
	// HasIPv6 reports whether the kernel has IPv6 at all.
	HasIPv6 func() bool
	// Bytes reads the byte counters of an interface, NewFlows the number of flows
	// that began, by lane.
	Bytes    func(index int) (rx, tx uint64, err error)
	NewFlows func() (map[lane.Lane]uint64, error)
	// ReadSets reads the sets that others fill, and returns how many elements each has by
	// family, -1 where there is none; nil if they are not read.
	ReadSets func([]firewall.Set) (map[string][2]int, error)
	// Rescued returns how many addresses policies rescue, by family, -1 where none can be; nil
	// if that is not read.
	Rescued func(policies []lane.Lane) (map[lane.Lane][2]int, error)
	// Interfaces returns the names of all interfaces; nil if they are not read.
	Interfaces func() ([]string, error)
	// Probes returns the packet filter's counts of probes at the last call of
	// NewFlows; nil if they are not counted.
	Probes func() ProbeCounts
	// Anew returns firewall.Counters.Anew at the last call of NewFlows; nil if that is
	// not counted.
	Anew func() uint64
	// Sessions returns its counts of what became of flows, then; nil if they are not counted.
	Sessions func() SessionCounts
	// FilterChanged yields a token when another program changed our nft table; nil
	// if that is not watched.
	FilterChanged <-chan struct{}
	// FilterGone yields a token when our nft table was deleted; nil if that is not told.
	FilterGone <-chan struct{}
	Events     Publisher
	// Medium returns what kind of device the one with an index is; nil if that cannot
	// be read.
	Medium func(index int) Medium
	// IsModem reports whether an interface is a modem's; nil if no interface is
	// known to be one.
	IsModem func(device string) bool
	// Mute reports whether the kernel has asked for a gateway's link-layer address on
	// an interface without an answer; nil if that is not known.
	Mute func(index int, gateway netip.Addr) bool
}

// Network is what watches and probes: *linkmon.Monitor, or a test's.
type Network interface {
	Ready() <-chan struct{}
	Take() []linkmon.Observation
	Repair() <-chan struct{}
	DefaultsChanged() <-chan struct{}
	Defaults() []linkmon.Default
	OwnChanged() <-chan struct{}
	Own() []netip.Addr
	LAN() linkmon.LAN
	Prove(p linkmon.Proof, report func(sent, answered bool)) bool
	SetUplinks([]linkmon.Uplink)
	Reread(uplink string)
	Send(failover.Probe, linkmon.Path)
}

// Routes is the kernel's routing, or a test's.
type Routes interface {
	routing.Kernel
	ReadOthers(lane.Layout) (routing.Others, error)
	OtherRules() ([]routing.OtherRule, error)
	Proxied([]routing.OtherRule) (bool, error)
	Pins() (pins []routing.Route, more bool, err error)
}

// Packets is the kernel's packet filter, or a test's.
type Packets interface {
	Apply(firewall.Table) error
	Move(from, to firewall.Table) error
	Drift(firewall.Table) ([]string, error)
	Hold(lapsed string, others []string, wait time.Duration) error
	AdoptFlows(g firewall.Goal, uplinks ...lane.Lane) (firewall.Adoption, error)
	Heal(firewall.Goal) (int, error)
	Observe(lane.Layout) (firewall.Observed, error)
	MarkUses() (firewall.MarkUses, error)
	FlowMarks() ([]uint32, error)
	Blind() (bool, error)
	TellsWildcards() bool
	FiltersReversePaths() (bool, error)
	Watch() error
	Teardown(lane.Layout) error
}

// Sysctls are the kernel's settings, or a test's.
type Sysctls interface {
	Set(uplinks []routing.Interface, proxied bool) ([]routing.Setting, error)
	Strict(link string) bool
	Bridged(link string) bool
}

// Flows changes existing flows, or is a test's.
type Flows interface {
	Heal(firewall.Goal) (int, error)
	Grace(interfaces []string) error
	EndMisled(l lane.Layout, lapsed lane.Lane, addresses []netip.Addr, others ...lane.Lane) (int, error)
	DeleteFlows(l lane.Layout, pair firewall.Pair, families ...failover.Family) error
	EndFlows(l lane.Layout, pair firewall.Pair, families ...failover.Family) (n [2]int, counted bool, err error)
	DropFlows(l lane.Layout, uplink lane.Lane, families ...failover.Family) (firewall.Pokes, error)
	DestroySockets(l lane.Layout, uplink lane.Lane, lost netip.Addr, spared firewall.Spared) (int, error)
	Revive(l lane.Layout, uplink lane.Lane, families ...failover.Family) error
	Poke(l lane.Layout, losses ...firewall.Loss) ([]firewall.Pokes, error)
}

// Publisher receives the events: *control.Hub, or a test's.
type Publisher interface{ Publish(control.Event) }

// Work runs a daemon's loop until ctx ends, on a machine that is made for its
// clock. It does all that [Run] does except the lock, the control socket and
// opening the kernel. If it cannot start because of the configuration, it returns a
// *ConfigError with the reason.
func Work(ctx context.Context, o Options, machine func(clock func() failover.Instant) Machine) error {
	b := begin(o.Load, &clock{today: time.Now, boot: thisBoot()})
	if len(b.found) > 0 {
		return &ConfigError{Problems: b.found}
	}
	l := newLoop(o, b.cfg, b.path)
	l.found = b
	l.mount(machine(l.clock.now))
	if err := l.open(b.cfg); err != nil {
		return err
	}
	return l.work(ctx, tasks{})
}

// mount gives the loop its machine.
func (l *loop) mount(m Machine) {
	l.finder = m.Finder
	l.net, l.filterChanged, l.filterGone, l.isModem = m.Network, m.FilterChanged, m.FilterGone, m.IsModem
	l.reporter.events, l.reporter.counters = m.Events, newCounters(m.Bytes, m.NewFlows)
	l.reporter.sets = newSetReader(m.ReadSets, l.reporter.problems)
	l.reporter.rescues = newRescueReader(m.Rescued, m.Events, l.log)
	l.reporter.ruleInterfaces = newRuleInterfaces(m.Interfaces, l.reporter.problems)
	l.reporter.counters.probed, l.reporter.mute = m.Probes, m.Mute
	l.reporter.counters.followed, l.reporter.counters.events = m.Sessions, m.Events
	l.reporter.counters.now = l.clock.now
	l.roster = newRoster(m.ListClients, l.log)
	l.reporter.counters.began = func() { wake(l.roster.began) }
	l.enforcer = &enforcer{
		kernel: &kernel{routes: m.Routes, packets: m.Packets, sysctls: m.Sysctls, hasIPv6: m.HasIPv6, mediumOf: m.Medium},
		worker: newWorker(m.Flows, m.Walks, m.Routes, m.Events, l.reporter.counters), now: l.clock.now, silences: newSilences(),
		anew: m.Anew, rested: -applyCredit,
	}
	l.enforcer.worker.log, l.enforcer.worker.walks.log = l.log, l.log
}
