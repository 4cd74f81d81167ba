package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"swerve/config"
	"swerve/control"
	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
	"swerve/routing"
)

// Finding is something on this machine that will bite, or bites already.
type Finding struct {
	// Code names the kind of finding for programs, such as "forwarding-off".
	Code     string           `json:"code"`
	Severity control.Severity `json:"severity"`
	// Object is what it is about, such as an interface.
	Object string `json:"object"`
	// Text says what is wrong, Evidence what was seen, and Remedy what to do, each as
	// one phrase without a full stop.
	Text     string `json:"text"`
	Evidence string `json:"evidence"`
	Remedy   string `json:"remedy"`
}

// exam is what is examined for findings.
type exam struct {
	setup setup
	links map[string]failover.Link
	// settings are those sysctls that are only reported; sysctl reads one below net,
	// and returns "" if there is none.
	settings []routing.Finding
	sysctl   func(key string) string
	// foreign are default routes of others, by the goal for ours.
	goal    routing.Goal
	foreign []routing.Route
	// narrower are other routes of theirs in our tables.
	narrower []routing.Route
	pins     []routing.Route // as of routing.Netlink.Pins
	rules    []routing.OtherRule
	clashes  []firewall.Clash
	// unfiltered, untracked and unruled are the reasons why the packet filter,
	// conntrack and rules cannot be used; nil where they can.
	unfiltered, untracked, unruled error
	// programs are the names of the processes in this network namespace.
	programs []string
	// resolvers are the name servers of resolv.conf; link-local ones have a zone.
	resolvers []netip.Addr
	// unread are what could not be read, by what is not known without it.
	unread map[string]error
	// addressed are the interfaces that have a global IPv6 address which does not expire.
	addressed map[string]bool
	// standing: rules of Swerve's are in the kernel.
	standing bool
	// path is the configuration file's, "" if there is none; refused is what is wrong in
	// it.
	path    string
	refused []config.Problem
	// denied: whoever examines may not read the configuration file.
	denied bool
	// unreadable is the configuration file that the user swerve may not read, and shut
	// are the folders above it that this user may not enter; without any it is the file.
	unreadable string
	shut       []string
	now        time.Time
	// neighbor is the daemon that runs here; taken are the interfaces of `uplinks: auto`.
	neighbor neighbor
	taken    config.Taken
}

// findings returns the findings, the most severe first.
func (e exam) findings() []Finding {
	out := slices.Concat(e.features(), e.sysctlFindings(), e.conntrack(), e.clashing(), e.ruleFindings(), e.routeFindings(),
		e.neighbours(), e.otherPrograms(), e.files(), e.reported())
	order := []control.Severity{control.Critical, control.Warning, control.Info}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
	return out
}

// features are findings about what the kernel lacks, or what could not be looked at.
func (e exam) features() []Finding {
	var out []Finding
	for _, f := range []struct {
		err          error
		object, text string
	}{
		{e.unfiltered, "nftables", "the packet filter cannot be used: flows keep no uplink, and are not masqueraded"},
		{e.untracked, "conntrack", "connections are not tracked: flows keep no uplink, and are not masqueraded"},
		{e.unruled, "rules", "routing rules cannot be used: all traffic goes by table main"},
	} {
		switch {
		case f.err == nil:
		case isDenied(f.err):
			out = append(out, Finding{"not-examined", control.Info, f.object, f.object + " cannot be looked at without privilege", f.err.Error(), "run it as root"})
		default:
			out = append(out, Finding{"no-" + f.object, control.Critical, f.object, f.text, f.err.Error(),
				"use a kernel that has it (nf_tables, nf_conntrack, nf_conntrack_netlink, multiple routing tables), or load its module"})
		}
	}
	for _, object := range slices.Sorted(maps.Keys(e.unread)) {
		out = append(out, Finding{"not-examined", control.Info, object, object + " cannot be read, so what is wrong there is not found",
			e.unread[object].Error(), "run it as root, where " + object + " is there"})
	}
	return out
}

// sysctlFindings are those of forwarding and reverse path filtering. Strict filtering
// is no trouble where the daemon sets src_valid_mark.
func (e exam) sysctlFindings() []Finding {
	ipv6 := false
	for _, l := range e.links {
		ipv6 = ipv6 || len(l.Family[failover.IPv6].Addresses) > 0
	}
	var out []Finding
	for _, s := range e.settings {
		f := Finding{"sysctl", control.Warning, cmp.Or(s.Interface, "machine"), s.Why, s.Key + " = " + s.Value, s.Lasting()}
		switch {
		case strings.HasSuffix(s.Key, "ip_forward"):
			f.Code = "forwarding-off"
		case strings.HasSuffix(s.Key, "/all/forwarding"):
			if f.Code = "forwarding-off"; !ipv6 {
				continue
			}
		case strings.HasSuffix(s.Key, "/forwarding"):
			if f.Code = "forwarding-off"; s.Minor {
				f.Severity = control.Info
				f.Remedy = "nothing, if the machines there should reach only this one; else " + f.Remedy
			}
		case strings.HasSuffix(s.Key, "accept_ra"):
			f.Code = "accept-ra"
			switch {
			case e.withoutIPv6(s.Interface):
				continue
			case e.withoutRAs(s.Interface):
				if e.addressed[s.Interface] {
					continue
				}
				f.Severity = control.Info
				f.Remedy = "nothing, if its IPv6 is configured by hand or there is none; else " + f.Remedy
			}
		case strings.HasSuffix(s.Key, "rp_filter"):
			if f.Code = "rp-filter"; e.setup.cfg.Kernel.ManageSysctls {
				continue
			}
			f.Evidence = e.reversePath(s.Interface)
		}
		out = append(out, f)
	}
	return out
}

// reversePath returns the sysctl of rp_filter that is in force on a device: the greater
// of its own and that for all.
func (e exam) reversePath(device string) string {
	own, all := e.sysctl("ipv4/conf/"+device+"/rp_filter"), e.sysctl("ipv4/conf/all/rp_filter")
	if all > own {
		return "net/ipv4/conf/all/rp_filter = " + all
	}
	return "net/ipv4/conf/" + device + "/rp_filter = " + own
}

// withoutIPv6 reports whether the configuration says that an interface's IPv6 takes nothing
// from router advertisements: it carries none, or has a gateway by hand.
func (e exam) withoutIPv6(device string) bool {
	return slices.ContainsFunc(e.setup.uplinks, func(u config.Uplink) bool {
		return e.links[u.Name].Interface == device && (!u.IPv6 || u.Gateway6.Addr.IsValid() || u.Gateway6.None)
	})
}

// withoutRAs reports whether nothing shows that an interface's IPv6 comes by router
// advertisements: no default route by it does.
func (e exam) withoutRAs(device string) bool {
	return !slices.ContainsFunc(e.foreign, func(r routing.Route) bool {
		return r.Family == failover.IPv6 && r.Protocol == unix.RTPROT_RA &&
			slices.ContainsFunc(r.Hops, func(h routing.Hop) bool { return h.Device == device })
	})
}

// conntrackRoom is the part of the table of flows, in percent, from which it is nearly
// full.
const conntrackRoom = 80

func (e exam) conntrack() []Finding {
	var count, most int
	if n, _ := fmt.Sscan(e.sysctl("netfilter/nf_conntrack_count"), &count); n == 0 {
		return nil
	}
	if n, _ := fmt.Sscan(e.sysctl("netfilter/nf_conntrack_max"), &most); n == 0 || most == 0 || count*100 < most*conntrackRoom {
		return nil
	}
	return []Finding{{"conntrack-full", control.Warning, "conntrack", "the kernel's table of flows is nearly full: then new flows are dropped",
		fmt.Sprintf("nf_conntrack_count = %d of nf_conntrack_max = %d", count, most), fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d, %s", 2*most, routing.Lasting(fmt.Sprintf("net.netfilter.nf_conntrack_max=%d", 2*most)))}}
}

func (e exam) clashing() []Finding {
	var out []Finding
	for _, c := range e.clashes {
		f := Finding{Severity: control.Warning, Object: c.Where, Evidence: fmt.Sprintf("nft -a list chain %s: handle %d", c.Where, c.Handle)}
		mask, key, what := e.setup.layout.MarkMask, "kernel.mark_mask", "packets"
		if c.Flow {
			mask, key, what = e.setup.layout.CTMask, "kernel.ct_mask", "flows"
		}
		switch c.Kind {
		case firewall.MarkSet:
			f.Code, f.Text = "mark-clash", fmt.Sprintf("a rule sets bits of Swerve's in the mark of %s (0x%08x)", what, mask)
			f.Remedy = "have it use other bits, or set " + key
		case firewall.MarkCleared:
			f.Code, f.Text = "mark-cleared", fmt.Sprintf("a rule clears Swerve's bits in the mark of %s: they lose their uplink", what)
			f.Remedy = fmt.Sprintf("have it keep them (mark & 0x%08x), or have its chain come before priority mangle", mask)
		case firewall.MarkRestored:
			if len(e.setup.engine.Policies) < 2 {
				continue // without a lane a packet goes by the default policy
			}
			f.Code, f.Text = "mark-cleared", "a rule replaces the marks of packets by those of their flows: the first packet of a flow loses its policy"
			f.Remedy = "have it skip ct state new, or keep the packet's bits in " + fmt.Sprintf("0x%08x", mask)
		case firewall.MarkMatched:
			f.Code, f.Severity = "mark-clash", control.Info
			f.Text = fmt.Sprintf("a rule compares bits of Swerve's in the mark of %s (0x%08x): it does not match them as before, mostly from a flow's second packet on", what, mask)
			f.Remedy = fmt.Sprintf("have it compare the others (mark & 0x%08x), or accept ct state established,related before it", ^mask)
		case firewall.HardwareOffload:
			f.Code, f.Text = "flow-offload", "a flow table hands flows to the hardware, where they meet no rule: they stay on a dead uplink"
			f.Evidence, f.Remedy = "nft list flowtable "+c.Where+": flags offload", "take flags offload out; flows in software are moved"
		}
		out = append(out, f)
	}
	return out
}

// ruleFindings are rules of others that have our marks, tables or priorities, or that
// decide before ours.
func (e exam) ruleFindings() []Finding {
	out := asFindings(e.setup.ruleProblems(e.rules, e.foreign), "ip rule")
	strict := e.strict()
	var inForce []string
	for _, device := range strict {
		if f := e.reversePath(device.Name); !slices.Contains(inForce, f) {
			inForce = append(inForce, f)
		}
	}
	out = append(out, asFindings(reversePathProblems(e.setup, e.rules, e.foreign, strict), "ip rule; "+strings.Join(inForce, ", "))...)
	out = append(out, asFindings(maskProblems(e.setup), "ip rule, nft list ruleset")...)
	l := e.setup.layout
	for _, r := range e.rules {
		if priority := int(r.Priority); priority >= l.FirstPriority && priority <= l.OIFUnreachablePriority(lane.LastPolicy) {
			out = append(out, Finding{"priority-clash", control.Warning, ruleObject(r), "a rule of another program is between those of Swerve's", "ip rule: " + r.String(),
				fmt.Sprintf("give it a priority below %d, or set kernel.first_priority", l.FirstPriority)})
		}
	}
	return out
}

// strict are the uplinks' interfaces on which the kernel filters reverse paths strictly.
func (e exam) strict() []routing.Interface {
	var out []routing.Interface
	for _, u := range e.setup.uplinks {
		link := e.links[u.Name]
		if u.Enabled && link.Present && max(e.sysctl("ipv4/conf/all/rp_filter"), e.sysctl("ipv4/conf/"+link.Interface+"/rp_filter")) == "1" {
			out = append(out, routing.Interface{Name: link.Interface, Index: link.Index})
		}
	}
	return out
}

// routeFindings are default routes of others, routes in our tables, and host routes
// that pin something to one uplink.
func (e exam) routeFindings() []Finding {
	out := asFindings(foreignProblems(e.goal), "ip route show table main")
	out = append(out, asFindings(e.setup.intruders(slices.Concat(e.foreign, e.narrower)), "ip route show table all")...)
	for _, r := range e.pins {
		if !r.OfPerson() { // those of clients are overruled
			continue
		}
		to, hop := r.Dst.Addr(), r.Hops[0]
		for _, u := range e.setup.uplinks {
			link := e.links[u.Name]
			if !u.Enabled || !link.Present || link.Index != hop.Index {
				continue
			}
			out = append(out, Finding{"pinned-route", control.Warning, to.String(),
				fmt.Sprintf("%s is reached by %s alone: a VPN to it does not fail over", to, u.Name),
				fmt.Sprintf("ip route: %s via %s dev %s", to, hop.Gateway, link.Interface),
				"have the VPN make no host route (OpenVPN: redirect-gateway local, or mark its packets), or leave it if it belongs to this uplink"})
		}
	}
	return out
}

// neighbours are uplinks in one network, which answer ARP for each other.
func (e exam) neighbours() []Finding {
	strict := func(string) bool { return false }
	out := asFindings(e.setup.alikes(e.links, strict), "ip address")
	for _, f := range out {
		if f.Code != "same-network" {
			continue
		}
		link := e.links[f.Object].Interface
		ignore := max(e.sysctl("ipv4/conf/all/arp_ignore"), e.sysctl("ipv4/conf/"+link+"/arp_ignore"))
		if filter := max(e.sysctl("ipv4/conf/all/arp_filter"), e.sysctl("ipv4/conf/"+link+"/arp_filter")); ignore > "0" || filter > "0" {
			continue
		}
		out = append(out, Finding{"arp-flux", control.Warning, f.Object,
			"two uplinks in one network answer ARP for each other's address, so that packets come in by the wrong one",
			fmt.Sprintf("net/ipv4/conf/%s/arp_ignore = 0", link), "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, " +
				routing.Lasting("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")})
	}
	return out
}

// Programs by what they do to routes.
var (
	otherFailover = []string{"mwan3track", "mwan3rtmon", "foolsm", "lsm", "dpinger", "omr-tracker", "speedify", "gwping"}
	routers       = []string{"zebra", "bird", "bird6", "ospfd", "ospf6d", "bgpd", "ripd", "ripngd", "isisd", "babeld", "gobgpd"}
)

func (e exam) otherPrograms() []Finding {
	var out []Finding
	for _, name := range e.programs {
		if slices.Contains(otherFailover, name) {
			out = append(out, Finding{"other-failover", control.Warning, name, "another program moves traffic between uplinks: the two will undo each other's work",
				"it runs here: " + name, "stop and disable one of the two"})
		}
		if e.setup.cfg.Kernel.MirrorMain && slices.Contains(routers, name) {
			out = append(out, Finding{"redistributed-default", control.Info, name,
				"Swerve mirrors its default routes into table main, and a routing daemon that redistributes the kernel's routes announces them",
				"it runs here: " + name, fmt.Sprintf("have it filter routes of protocol %d, or set kernel.main_default: leave", lane.Protocol)})
		}
	}
	return out
}

// files are findings about the configuration, the resolver and the clock.
func (e exam) files() []Finding {
	var out []Finding
	if e.denied {
		out = append(out, Finding{"not-examined", control.Info, e.path, "the configuration cannot be read without privilege, so the rest here is examined with the default one",
			"ls -l " + e.path, "run it as root, or as a member of the file's group"})
	}
	if len(e.refused) > 0 {
		out = append(out, Finding{"config-refused", control.Critical, e.path,
			"the configuration is not valid: no daemon starts with it, and one that runs keeps the one before; the rest here is examined with the default one",
			(&ConfigError{Problems: e.refused}).Error(), "swerve check " + e.path + " prints every problem, with what would be right"})
	}
	if e.unreadable != "" {
		out = append(out, Finding{"config-unreadable", control.Warning, e.unreadable, "the user swerve, as which the unit runs, may not read the configuration",
			"ls -ld " + strings.Join(append(slices.Clone(e.shut), e.unreadable), " "), e.letIn()})
	}
	if e.now.Before(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)) {
		out = append(out, Finding{"clock-not-set", control.Warning, "clock", "the clock is not set: times in status and events are wrong, and DNSSEC and TLS fail",
			"it is " + e.now.UTC().Format(time.RFC3339), "have a time service that names servers by address, such as timedatectl set-ntp true"})
	}
	if u, all := e.resolversOf(); all {
		out = append(out, Finding{"resolver-of-one-uplink", control.Warning, u,
			fmt.Sprintf("all name servers are behind %s: names do not resolve while it is down", u),
			fmt.Sprintf("/etc/resolv.conf: %v", e.resolvers), "have a resolver on this machine, or one that every uplink reaches; keep the DHCP clients from writing resolv.conf"})
	}
	return out
}

// letIn returns how the user swerve may read the configuration: what keeps it out, and no
// more, is opened.
func (e exam) letIn() string {
	var out []string
	for _, path := range e.shut {
		if path != e.unreadable {
			out = append(out, "chmod a+x "+path)
		}
	}
	if len(out) == 0 || slices.Contains(e.shut, e.unreadable) {
		out = append(out, "chgrp swerve "+e.unreadable+" && chmod 640 "+e.unreadable)
	}
	return strings.Join(out, " && ")
}

// resolversOf returns the uplink in whose networks all name servers are.
func (e exam) resolversOf() (uplink string, all bool) {
	for _, u := range e.setup.uplinks {
		behind := func(a netip.Addr) bool {
			if a.Zone() != "" {
				return a.Zone() == e.links[u.Name].Interface || a.Zone() == strconv.Itoa(e.links[u.Name].Index)
			}
			for _, f := range e.links[u.Name].Family {
				if slices.ContainsFunc(f.Addresses, func(p netip.Prefix) bool { return p.Contains(a) && p.Addr() != a }) {
					return true
				}
			}
			return false
		}
		if u.Enabled && len(e.resolvers) > 0 && !slices.ContainsFunc(e.resolvers, func(a netip.Addr) bool { return !behind(a) }) {
			return u.Name, true
		}
	}
	return "", false
}

// reported are what a running daemon knows: its problems, and uplinks that were never
// proven.
func (e exam) reported() []Finding {
	if e.neighbor.status == nil {
		return e.unreported()
	}
	var out []Finding
	for _, p := range e.neighbor.status.Problems {
		switch p.Code {
		case "foreign-default", "foreign-route", "same-network", "same-interface", "pinned-route",
			"mark-clash", "table-clash", "foreign-rule": // found here
		case "not-built": // about the version, not the machine
		default:
			out = append(out, asFindings([]control.Problem{p}, "swerve status")...)
		}
	}
	for _, u := range e.neighbor.status.Uplinks {
		if u.LastProven.IsZero() {
			out = append(out, Finding{"never-proven", control.Warning, u.Name, "no target has ever answered by this uplink: it will not carry traffic when the others fail",
				"swerve status --json: last_proven is null", "check its modem, its address and its gateway: ping -I " + u.Interface + " a target"})
		}
	}
	return out
}

// unreported are findings where no daemon answers.
func (e exam) unreported() []Finding {
	if e.neighbor.runs {
		return []Finding{{"not-examined", control.Info, "daemon", "a daemon runs here and could not be asked: what it knows of the uplinks is not told here",
			fmt.Sprint(e.neighbor.unasked), "run it as root, or as a member of the group that control.group names"}}
	}
	var out []Finding
	if e.standing {
		out = append(out, Finding{"no-daemon", control.Warning, "daemon", "no daemon runs, although Swerve's rules are in the kernel: nothing is watched, and only an uplink that loses its carrier is left",
			fmt.Sprintf("ip rule: rules of protocol %d", lane.Protocol), "systemctl start swerve, after journalctl -u swerve has said why it ended; or swerve teardown, if it should not run"})
	}
	for _, d := range e.taken.Candidates {
		out = append(out, Finding{"not-an-uplink", control.Info, d.Interface,
			d.Interface + " holds a default route, but no target has answered through it so far; until one does it is not taken for an uplink",
			"ip route show default", candidateRemedy})
	}
	return out
}

func asFindings(problems []control.Problem, evidence string) []Finding {
	var out []Finding
	for _, p := range problems {
		out = append(out, Finding{p.Code, p.Severity, p.Object, p.Text, evidence, p.Remedy})
	}
	return out
}

func isDenied(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }
