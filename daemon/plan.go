package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/control/say"
	"swerve/failover"
	"swerve/firewall"
	"swerve/linkmon"
	"swerve/routing"
)

// Changes are the changes that a start would make to this kernel now.
type Changes struct {
	// Sysctls and Routes (routes and rules) are listed in the order in which they
	// would be carried out.
	Sysctls []routing.Setting
	Routes  []routing.Op
	// Filter is the whole table inet swerve as an nft(8) script that replaces the
	// existing one, or empty if the kernel already holds it. FilterLacks lists the
	// differences.
	Filter      string
	FilterLacks []string
	// Notes say, under `uplinks: auto`, through which interfaces with a default route no
	// target has answered; not beside a running daemon, whose status says so. Of one that
	// has refused this file, or gone back from it, they say that.
	Notes []string
}

// Empty reports whether there is nothing to change.
func (c Changes) Empty() bool { return len(c.Sysctls) == 0 && len(c.Routes) == 0 && c.Filter == "" }

// Script returns the changes as a shell script of sysctl(8), ip(8) and nft(8)
// lines, in the order in which they would be made; empty if there are none.
func (c Changes) Script() string {
	if c.Empty() {
		return ""
	}
	var b strings.Builder
	for _, note := range c.Notes {
		fmt.Fprintln(&b, "# "+note)
	}
	for _, s := range c.Sysctls {
		fmt.Fprintln(&b, s)
	}
	for _, op := range c.Routes {
		if !c.last(op) {
			fmt.Fprintln(&b, op)
		}
	}
	if c.Filter != "" {
		// It is replaced as a whole; these say whether that is for much or little.
		for _, difference := range c.FilterLacks {
			fmt.Fprintln(&b, "# nftables: "+difference)
		}
		fmt.Fprintf(&b, "nft -f - <<'EOF'\n%sEOF\n", c.Filter)
	}
	for _, op := range c.Routes {
		if c.last(op) {
			fmt.Fprintln(&b, op)
		}
	}
	return b.String()
}

// last reports whether an op waits for the packet filter: rules lead packets into
// the tables, and are added once the marks are set.
func (c Changes) last(op routing.Op) bool {
	return op.Action == routing.AddRule || op.Action == routing.DeleteRule
}

// Plan returns the changes that Run would make to this kernel now, without making
// them.
func Plan(o Options) (Changes, error) {
	filter := new(firewall.Kernel)
	defer filter.Close()
	cfg, path, found := o.Load()
	if len(found) > 0 {
		return Changes{}, &ConfigError{Problems: found}
	}
	p, err := newPreview(context.Background(), o, cfg, path, filter)
	if err != nil {
		return Changes{}, err
	}
	defer p.close()
	c, err := p.loop.changes()
	c.Notes = p.neighbor.notes()
	if !p.neighbor.runs {
		c.Notes = p.taken.Notes()
	}
	return c, err
}

// notes says where the daemon that runs has another configuration than its file.
func (n neighbor) notes() []string {
	if n.status == nil {
		return nil
	}
	var out []string
	for _, p := range n.status.Problems {
		if p.Code == "config-reverted" || p.Code == "reload-refused" {
			out = append(out, "the daemon that runs goes by an earlier configuration: "+say.OneLine(p.Text))
		}
	}
	return out
}

// preview is what a start on this machine would come to, without anything changed and
// any probe sent.
type preview struct {
	loop *loop
	// neighbor is the daemon that runs already.
	neighbor neighbor
	// taken is for `uplinks: auto`.
	taken config.Taken
	close func()
}

// newPreview prepares one of a configuration, which is from that path, with that packet
// filter.
func newPreview(ctx context.Context, o Options, cfg *config.Config, path string, filter Packets) (*preview, error) {
	kernel, err := routing.Open()
	if err != nil {
		return nil, err
	}
	p := &preview{neighbor: askNeighbor(ctx, o.Socket), close: kernel.Close}
	if err := p.open(o, cfg, path, kernel, filter); err != nil {
		kernel.Close()
		return nil, err
	}
	return p, nil
}

func (p *preview) open(o Options, cfg *config.Config, path string, routes Routes, filter Packets) error {
	settings, err := routing.OpenSysctls("", false)
	if err != nil {
		return err
	}
	links := new(frozenNetwork)
	l := newLoop(o, cfg, path)
	p.loop = l
	l.mount(Machine{
		Network: links, Routes: routes, Packets: filter, Sysctls: settings, HasIPv6: routing.HasIPv6, Events: control.NewHub(),
		IsModem: IsModem, Medium: MediumOf,
	})
	if cfg.AutoUplinks {
		now, today := defaultRoutes(links.Defaults()), l.clock.today()
		var assumed bool
		l.state.Auto, assumed = knownAuto(p.neighbor, refreshAuto(l.state.Auto, now, today), now, today)
		p.taken = takenOf(p.neighbor, l.state.Auto, now, assumed)
	}
	if err := errors.Join(l.open(cfg), links.err); err != nil {
		return err
	}
	for _, observation := range l.net.Take() {
		l.observe(observation)
	}
	lanChanged(l) // it was read before the uplinks were known
	l.step(l.clock.now()+readyWithin, failover.Tick{})
	return nil
}

// changes compares the kernel with the goal.
func (l *loop) changes() (Changes, error) {
	g, ok := l.goal()
	if !ok {
		return Changes{}, nil
	}
	kernel := l.enforcer.kernel
	var c Changes
	var err error
	if l.setup.cfg.Kernel.ManageSysctls {
		if c.Sysctls, err = kernel.sysctls.Set(g.interfaces(), kernel.proxied); err != nil {
			return Changes{}, err
		}
	}
	if c.Routes, c.FilterLacks, err = kernel.drift(g); err != nil {
		return Changes{}, err
	}
	if len(c.FilterLacks) > 0 {
		c.Filter = kernel.table.Replacement()
	}
	return c, nil
}

// frozenNetwork is the network at one moment: links are read once, and no probes
// are sent.
type frozenNetwork struct {
	uplinks []linkmon.Uplink
	seen    []linkmon.Observation
	err     error
}

func (*frozenNetwork) Ready() <-chan struct{}            { return nil }
func (*frozenNetwork) Repair() <-chan struct{}           { return nil }
func (*frozenNetwork) DefaultsChanged() <-chan struct{}  { return nil }
func (*frozenNetwork) OwnChanged() <-chan struct{}       { return nil }
func (*frozenNetwork) Reread(string)                     {}
func (*frozenNetwork) Send(failover.Probe, linkmon.Path) {}
func (n *frozenNetwork) Take() []linkmon.Observation     { return n.seen }

func (n *frozenNetwork) SetUplinks(uplinks []linkmon.Uplink) {
	n.uplinks = uplinks
	n.readOnce(uplinks, func(m *linkmon.Monitor) { n.seen = m.Take() })
}

func (n *frozenNetwork) Defaults() (found []linkmon.Default) {
	n.readOnce(nil, func(m *linkmon.Monitor) { found = m.Defaults() })
	return found
}

func (n *frozenNetwork) LAN() (found linkmon.LAN) {
	n.readOnce(n.uplinks, func(m *linkmon.Monitor) { found = m.LAN() })
	return found
}

// Prove proves nothing.
func (*frozenNetwork) Prove(linkmon.Proof, func(sent, answered bool)) bool { return false }

func (n *frozenNetwork) Own() (found []netip.Addr) {
	n.readOnce(nil, func(m *linkmon.Monitor) { found = m.Own() })
	return found
}

// readOnce reads the links of the uplinks, and the other data that a monitor
// provides, once.
func (n *frozenNetwork) readOnce(uplinks []linkmon.Uplink, read func(*linkmon.Monitor)) {
	m, err := linkmon.New(linkmon.Options{Uplinks: uplinks, Clock: func() failover.Instant { return 0 }})
	if err != nil {
		n.err = err
		return
	}
	read(m)
	ended, end := context.WithCancel(context.Background())
	end()
	n.err = m.Run(ended) // releases what the monitor opened
}

// OwnAddresses lists the machine's addresses on all its devices.
func OwnAddresses() ([]netip.Addr, error) {
	links := new(frozenNetwork)
	found := links.Own()
	return found, links.err
}

// Networks returns the networks that are reached directly on an uplink's interface:
// those of its addresses, and of routes without a gateway; none if it does not exist.
func Networks(u config.Uplink) []netip.Prefix {
	link := linkOf(u)
	if link == nil {
		return nil
	}
	var out []netip.Prefix
	add := func(n *net.IPNet) {
		if n == nil {
			return
		}
		a, ok := netip.AddrFromSlice(n.IP)
		ones, bits := n.Mask.Size()
		if a = a.Unmap(); ok && bits == a.BitLen() && ones > 0 {
			out = append(out, netip.PrefixFrom(a, ones))
		}
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		add(a.IPNet)
	}
	routes, err := netlink.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return out
	}
	for _, r := range routes {
		if r.Gw == nil && r.Via == nil && r.Protocol != unix.RTPROT_KERNEL {
			add(r.Dst)
		}
	}
	return out
}

// linkOf returns the interface of an uplink, configured by name, altname or MAC
// address; nil if there is none, or the interfaces cannot be read.
func linkOf(u config.Uplink) netlink.Link {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	for _, l := range links {
		if isLinkOf(l, u) {
			return l
		}
	}
	return nil
}

func isLinkOf(l netlink.Link, u config.Uplink) bool {
	a := l.Attrs()
	return a.Name == u.Interface || slices.Contains(a.AltNames, u.Interface) || a.HardwareAddr.String() == u.Interface
}

// WithoutGateway returns the enabled uplinks whose interface exists and is up, and
// for which a start would learn no gateway now.
func WithoutGateway(uplinks []config.Uplink) []config.Uplink {
	links := new(frozenNetwork)
	links.SetUplinks(setup{uplinks: uplinks}.watched())
	if links.err != nil {
		return nil
	}
	var out []config.Uplink
	for _, o := range links.Take() {
		changed, ok := o.Event.(failover.LinkChanged)
		l := changed.Link
		if !ok || !l.Present || !l.AdminUp || slices.ContainsFunc(l.Family[:], func(f failover.FamilyLink) bool {
			return f.Gateway.IsValid() || f.PointToPoint
		}) {
			continue
		}
		if i := slices.IndexFunc(uplinks, func(u config.Uplink) bool { return u.Enabled && u.Name == changed.Uplink }); i >= 0 {
			out = append(out, uplinks[i])
		}
	}
	return out
}

// MissingInterfaces returns the enabled uplinks whose interface, configured by
// name, altname or MAC address, does not exist on this machine now; none if the
// interfaces cannot be read.
func MissingInterfaces(uplinks []config.Uplink) []config.Uplink {
	links, err := netlink.LinkList()
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(uplinks), func(u config.Uplink) bool {
		return !u.Enabled || slices.ContainsFunc(links, func(l netlink.Link) bool { return isLinkOf(l, u) })
	})
}
