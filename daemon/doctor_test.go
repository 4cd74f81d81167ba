package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/routing"
)

// healthy is the examination of a machine with two uplinks in which nothing is found.
func healthy() exam {
	link := func(index int, device, v4, v6 string) failover.Link {
		l := failover.Link{Interface: device, Index: index, Present: true, AdminUp: true, Carrier: true}
		l.Family[failover.IPv4].Addresses = []netip.Prefix{netip.MustParsePrefix(v4)}
		l.Family[failover.IPv6].Addresses = []netip.Prefix{netip.MustParsePrefix(v6)}
		return l
	}
	cfg := config.Default()
	return exam{
		setup: setup{cfg: cfg, layout: cfg.Layout(), uplinks: []config.Uplink{
			{Name: "fiber", Interface: "wan0", Enabled: true}, {Name: "lte", Interface: "wan1", Enabled: true},
		}},
		links: map[string]failover.Link{
			"fiber": link(2, "wan0", "203.0.113.2/24", "2001:db8:1::2/64"), "lte": link(3, "wan1", "192.168.8.100/24", "2001:db8:2::2/64"),
		},
		sysctl:    func(key string) string { return map[string]string{"netfilter/nf_conntrack_max": "1000"}[key] },
		goal:      routing.Goal{Layout: cfg.Layout()},
		rules:     []routing.OtherRule{{Priority: 5210, Mark: 0x80000, Mask: 0xff0000, Table: routing.MainTable}},
		programs:  []string{"systemd", "sshd", "swerve"},
		resolvers: []netip.Addr{netip.MustParseAddr("127.0.0.53")},
		now:       time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		neighbor:  neighbor{runs: true, status: &control.Status{Uplinks: []control.Uplink{{Name: "fiber", LastProven: control.At(time.Unix(1800000000, 0))}}}},
	}
}

// hostRoute is one that a person or a VPN has made.
func hostRoute(to, gateway string, index int) routing.Route {
	return routing.Route{
		Slot: routing.Slot{Table: routing.MainTable, Dst: netip.MustParsePrefix(to + "/32")}, Protocol: unix.RTPROT_STATIC, Type: routing.Unicast,
		Hops: []routing.Hop{{Gateway: netip.MustParseAddr(gateway), Index: index}},
	}
}

// sysctl gives a machine a sysctl that is only reported.
func sysctl(key, value string) func(*exam) {
	return func(e *exam) {
		e.settings = append(e.settings, routing.Finding{Setting: routing.Setting{Key: "net/" + key, Value: value, Want: "1"}, Why: "why"})
	}
}

// Router advertisements are missed where they are refused and a route by them is there, or
// was; where IPv6 is configured by hand, or there is none, that is no more than a note. A
// whole mark that is restored does no harm where there is the default policy alone.
func TestFindingsThatAreNone(t *testing.T) {
	severity := func(e exam) (out []control.Severity) {
		for _, f := range e.findings() {
			out = append(out, f.Severity)
		}
		return out
	}
	e := healthy()
	e.settings = []routing.Finding{{Setting: routing.Setting{Key: "net/ipv6/conf/wan0/accept_ra", Value: "1", Want: "2", Interface: "wan0"}, Why: "why"}}
	if got := severity(e); !slices.Equal(got, []control.Severity{control.Info}) {
		t.Errorf("without a route by an advertisement: %v", got)
	}
	e.foreign = []routing.Route{{
		Slot: routing.Slot{Family: failover.IPv6, Table: routing.MainTable, Dst: netip.MustParsePrefix("::/0")}, Protocol: unix.RTPROT_RA,
		Hops: []routing.Hop{{Device: "wan0"}},
	}}
	if got := severity(e); !slices.Equal(got, []control.Severity{control.Warning}) {
		t.Errorf("with a route by an advertisement: %v", got)
	}
	e = healthy()
	e.clashes = []firewall.Clash{{Kind: firewall.MarkRestored, Where: "ip t c"}}
	if got := e.findings(); len(got) > 0 {
		t.Errorf("a restored mark: %+v", got)
	}
}

// ailments are what can be wrong with a machine, each with its finding.
var ailments = map[string]struct {
	ail    func(*exam)
	code   string
	object string
}{
	"no forwarding":      {sysctl("ipv4/ip_forward", "0"), "forwarding-off", "machine"},
	"no IPv6 forwarding": {sysctl("ipv6/conf/all/forwarding", "0"), "forwarding-off", "machine"},
	"accept_ra":          {sysctl("ipv6/conf/wan0/accept_ra", "1"), "accept-ra", "machine"},
	"strict rp_filter": {func(e *exam) {
		sysctl("ipv4/conf/wan0/rp_filter", "1")(e)
		e.setup.cfg.Kernel.ManageSysctls = false
	}, "rp-filter", "machine"},
	"conntrack nearly full": {func(e *exam) {
		e.sysctl = func(key string) string {
			return map[string]string{"netfilter/nf_conntrack_max": "1000", "netfilter/nf_conntrack_count": "900"}[key]
		}
	}, "conntrack-full", "conntrack"},
	"no nftables":  {func(e *exam) { e.unfiltered = unix.EPROTONOSUPPORT }, "no-nftables", "nftables"},
	"no conntrack": {func(e *exam) { e.untracked = fmt.Errorf("ask: %w", unix.EINVAL) }, "no-conntrack", "conntrack"},
	"no rules":     {func(e *exam) { e.unruled = unix.EOPNOTSUPP }, "no-rules", "rules"},
	"unprivileged": {func(e *exam) { e.unfiltered = fmt.Errorf("list: %w", unix.EPERM) }, "not-examined", "nftables"},
	"set mark":     {func(e *exam) { e.clashes = []firewall.Clash{{Kind: firewall.MarkSet, Where: "ip t c"}} }, "mark-clash", "ip t c"},
	"cleared mark": {func(e *exam) { e.clashes = []firewall.Clash{{Kind: firewall.MarkCleared, Where: "ip t c", Flow: true}} }, "mark-cleared", "ip t c"},
	"offload":      {func(e *exam) { e.clashes = []firewall.Clash{{Kind: firewall.HardwareOffload, Where: "ip t f"}} }, "flow-offload", "ip t f"},
	"rule's mark": {func(e *exam) {
		e.rules = []routing.OtherRule{{Priority: 100, Mark: 0x02000000, Mask: 0xffffffff, Table: 7}}
	}, "mark-clash", "rule 100"},
	"a VPN's rule and strict rp_filter": {func(e *exam) {
		e.rules = []routing.OtherRule{{Priority: 100, Table: 7, Suppress: -1, All: true}}
		e.foreign = []routing.Route{{Slot: routing.Slot{Table: 7, Dst: netip.MustParsePrefix("0.0.0.0/0")}}}
		e.sysctl = func(key string) string { return map[string]string{"ipv4/conf/all/rp_filter": "1"}[key] }
	}, "rp-filter", "wan0, wan1"},
	"rule's table":    {func(e *exam) { e.rules = []routing.OtherRule{{Priority: 100, Table: 5310}} }, "table-clash", "rule 100"},
	"rule's priority": {func(e *exam) { e.rules = []routing.OtherRule{{Priority: 5400, Table: 7}} }, "priority-clash", "rule 5400"},
	"route in our table": {func(e *exam) {
		e.foreign = []routing.Route{{Slot: routing.Slot{Table: 5301, Dst: netip.MustParsePrefix("0.0.0.0/0")}, Protocol: unix.RTPROT_STATIC, Type: unix.RTN_BLACKHOLE}}
	}, "foreign-route", "table 5301 ipv4 metric 0"},
	"pinned VPN": {func(e *exam) {
		e.pins = []routing.Route{hostRoute("192.0.2.7", "203.0.113.1", 2)}
	}, "pinned-route", "192.0.2.7"},
	"one network": {func(e *exam) {
		l := e.links["lte"]
		l.Family[failover.IPv4].Addresses = []netip.Prefix{netip.MustParsePrefix("203.0.113.9/24")}
		e.links["lte"] = l
	}, "arp-flux", "lte"},
	"mwan3":             {func(e *exam) { e.programs = append(e.programs, "mwan3track") }, "other-failover", "mwan3track"},
	"FRR":               {func(e *exam) { e.programs = append(e.programs, "zebra") }, "redistributed-default", "zebra"},
	"config of another": {func(e *exam) { e.path, e.denied = "/etc/swerve/swerve.yaml", true }, "not-examined", "/etc/swerve/swerve.yaml"},
	"restored mark": {func(e *exam) {
		e.clashes = []firewall.Clash{{Kind: firewall.MarkRestored, Where: "ip t c"}}
		e.setup.engine.Policies = []failover.Policy{{Name: "default"}, {Name: "guests"}}
	}, "mark-cleared", "ip t c"},
	"config":   {func(e *exam) { e.unreadable = "/etc/swerve/swerve.yaml" }, "config-unreadable", "/etc/swerve/swerve.yaml"},
	"clock":    {func(e *exam) { e.now = time.Unix(60, 0) }, "clock-not-set", "clock"},
	"resolver": {func(e *exam) { e.resolvers = []netip.Addr{netip.MustParseAddr("192.168.8.1")} }, "resolver-of-one-uplink", "lte"},
	"daemon": {func(e *exam) {
		e.neighbor.status.Problems = []control.Problem{{Code: "target-set-aside", Severity: control.Info, Object: "192.0.2.53"}}
	}, "target-set-aside", "192.0.2.53"},
	"unproven": {func(e *exam) {
		e.neighbor.status.Uplinks = append(e.neighbor.status.Uplinks, control.Uplink{Name: "lte"})
	}, "never-proven", "lte"},
}

// Each ailment has its finding, and a healthy machine has none.
func TestFindings(t *testing.T) {
	if found := healthy().findings(); len(found) > 0 {
		t.Errorf("a healthy machine has %v", found)
	}
	for name, c := range ailments {
		t.Run(name, func(t *testing.T) {
			e := healthy()
			c.ail(&e)
			found := e.findings()
			if !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == c.code && f.Object == c.object }) {
				t.Errorf("no %s of %s in %v", c.code, c.object, found)
			}
			for _, f := range found {
				if c.object != "192.0.2.53" && (f.Text == "" || f.Evidence == "" || f.Remedy == "") {
					t.Errorf("%+v lacks a part", f)
				}
			}
		})
	}
}

// Others' resolvers, and forwarding of a family that no uplink has, are no findings.
func TestNoFindings(t *testing.T) {
	for name, ail := range map[string]func(*exam){
		"two resolvers": func(e *exam) {
			e.resolvers = []netip.Addr{netip.MustParseAddr("192.168.8.1"), netip.MustParseAddr("203.0.113.1")}
		},
		"no IPv6": func(e *exam) {
			for name, l := range e.links {
				l.Family[failover.IPv6] = failover.FamilyLink{}
				e.links[name] = l
			}
			e.settings = []routing.Finding{{Setting: routing.Setting{Key: "net/ipv6/conf/all/forwarding", Value: "0"}}}
		},
		"strict but managed": func(e *exam) {
			e.settings = []routing.Finding{{Setting: routing.Setting{Key: "net/ipv4/conf/wan0/rp_filter", Value: "1"}}}
		},
		"LAN's host route": func(e *exam) { e.pins = []routing.Route{hostRoute("192.0.2.7", "192.168.1.9", 9)} },
		"FRR, not mirrored": func(e *exam) {
			e.programs, e.setup.cfg.Kernel.MirrorMain = []string{"zebra"}, false
		},
	} {
		e := healthy()
		ail(&e)
		if found := e.findings(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestUnreadable(t *testing.T) {
	account := &user.User{Uid: "4242", Gid: "4343"}
	path := filepath.Join(t.TempDir(), "c")
	for _, c := range []struct {
		mode os.FileMode
		gid  int
		want bool
	}{{0o600, 0, false}, {0o640, 0, false}, {0o640, 4343, true}, {0o644, 0, true}, {0o604, 4343, false}} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 0, c.gid), os.Chmod(path, c.mode)); err != nil {
			t.Fatal(err)
		}
		if got := may(path, account, 4); got != c.want {
			t.Errorf("mode %o of group %d: %v", c.mode, c.gid, got)
		}
	}
	got := resolvers("# nameserver 1.2.3.4\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch x\nnameserver\n")
	if want := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")}; !slices.Equal(got, want) {
		t.Errorf("resolvers %v, want %v", got, want)
	}
}

// On the kernel, doctor finds what is wrong with a gateway, without and with a daemon,
// and changes nothing.
func TestDoctorOnTheKernel(t *testing.T) {
	g := newGateway(t)
	codes := func() []string {
		t.Helper()
		var findings []Finding
		if err := json.NewDecoder(bytes.NewBufferString(g.do("doctor", nil))).Decode(&findings); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range findings {
			out = append(out, f.Code+" "+f.Object)
		}
		return out
	}
	g.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	before := g.picture()
	// Programs and files are those of the machine around the test.
	ours := func(found []string) []string {
		return slices.DeleteFunc(found, func(s string) bool {
			return strings.HasPrefix(s, "other-failover") || strings.HasPrefix(s, "redistributed") || strings.HasPrefix(s, "resolver")
		})
	}
	if found := ours(codes()); len(found) > 0 {
		t.Errorf("a healthy gateway has %q", found)
	}
	if after := g.picture(); after != before {
		t.Errorf("doctor changed\n%s\nto\n%s", before, after)
	}
	g.sh(`sysctl -qw net.ipv4.ip_forward=0
		ip -4 route add 192.0.2.7 via 203.0.113.1
		ip -4 rule add pref 5350 lookup 77
		ip -6 rule add pref 900 fwmark 0x2000000/0x2000000 lookup 77
		nft add table ip loud
		nft add chain ip loud pre '{ type filter hook prerouting priority filter; }'
		nft add rule ip loud pre tcp dport 80 meta mark set 1`)
	want := []string{"forwarding-off machine", "mark-clash rule 900", "mark-cleared ip loud pre", "pinned-route 192.0.2.7", "priority-clash rule 5350"}
	found := ours(codes())
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	g.sh("ip -4 rule del pref 5350; ip -6 rule del pref 900; nft delete table ip loud; ip -4 route del 192.0.2.7; sysctl -qw net.ipv4.ip_forward=1")
	g.run()
	if found := ours(codes()); len(found) > 0 {
		t.Errorf("beside the daemon it found %q", found)
	}
}

// Where no daemon answers, doctor says whether one runs, and which interfaces it would not
// take.
func TestFindingsWithoutAStatus(t *testing.T) {
	e := healthy()
	e.neighbor = neighbor{runs: true, unasked: errors.New("permission denied")}
	if found := e.findings(); len(found) != 1 || found[0].Code != "not-examined" || found[0].Object != "daemon" || found[0].Evidence != "permission denied" {
		t.Errorf("beside a daemon that cannot be asked: %+v", found)
	}
	e.neighbor, e.taken.Candidates = neighbor{}, []config.DefaultRoute{{Interface: "lan0"}}
	if found := e.findings(); len(found) != 1 || found[0].Code != "not-an-uplink" || found[0].Object != "lan0" {
		t.Errorf("without a daemon: %+v", found)
	}
}

// A file that is refused is the gravest finding, and does not hide the others.
func TestFindingsOfARefusedFile(t *testing.T) {
	e := healthy()
	e.path, e.refused = "/etc/swerve/swerve.yaml", []config.Problem{{File: "/etc/swerve/swerve.yaml", Line: 3, Path: "uplinks", Wrong: "is missing", Right: "a list"}}
	sysctl("ipv4/ip_forward", "0")(&e)
	found := e.findings()
	if len(found) != 2 || found[0].Code != "config-refused" || found[0].Object != e.path || !strings.Contains(found[0].Evidence, ":3: uplinks: is missing") ||
		found[1].Code != "forwarding-off" {
		t.Errorf("%+v", found)
	}
}
