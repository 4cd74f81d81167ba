package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
	"swerve/testenv/wire"
)

// beginner begins a fault, and returns what mends it.
type beginner func(s *stage, f fault) (mend func() error, err error)

// nothing mends what is over at once, or what the daemon has to mend.
func nothing() error { return nil }

// inLab begins a fault that the lab knows by the same name.
func inLab(s *stage, f fault) (func() error, error) {
	spec := f.kind.name
	if f.value != "" {
		spec += "=" + f.value
	}
	fault, err := s.lab.Fault(max(0, f.uplink), spec)
	if err != nil {
		return nil, err
	}
	return fault.Undo, nil
}

// policeQueue is how many frames a policer lets through at a time.
const policeQueue = 20

// police drops what exceeds a rate in bits a second.
func police(s *stage, f fault) (func() error, error) {
	rate, err := strconv.ParseInt(f.value, 10, 64)
	w := s.lab.Wire[f.uplink]
	w.Change(wire.Both, func(p *wire.Path) { p.Rate, p.Queue = rate, policeQueue })
	return func() error {
		w.Change(wire.Both, func(p *wire.Path) { p.Rate, p.Queue = 0, 0 })
		return nil
	}, err
}

// withdraw deletes the default route that the DHCP client left, which adds it again.
func withdraw(s *stage, f fault) (func() error, error) {
	h := s.lab.Gateway.Netlink()
	link, err := h.LinkByName(s.lab.Uplinks[f.uplink].Interface)
	if err != nil {
		return nil, err
	}
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{
		LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_DHCP, Table: unix.RT_TABLE_MAIN,
	}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	for _, r := range routes {
		if err := h.RouteDel(&r); err != nil {
			return nil, fmt.Errorf("delete %v: %w", r, err)
		}
	}
	return func() error {
		for _, r := range routes {
			r.Flags = 0 // what the kernel found out
			if err := h.RouteReplace(&r); err != nil {
				return fmt.Errorf("add %v: %w", r, err)
			}
		}
		return nil
	}, nil
}

// withdrawRouter has the ISP advertise that it is no router.
func withdrawRouter(s *stage, f fault) (func() error, error) {
	s.lab.SetRouterLifetime(f.uplink, 0)
	return func() error { s.lab.SetRouterLifetime(f.uplink, 30*time.Minute); return nil }, nil
}

// The pair of links that a stranger's default route leads to.
const (
	stranger     = "strange0"
	strangersEnd = "strange1"
)

// foreignDefault adds a device that is no uplink, with default routes.
func foreignDefault(s *stage, f fault) (func() error, error) {
	metric, err := strconv.Atoi(f.value)
	if err != nil {
		return nil, err
	}
	ns := s.lab.Gateway
	for _, err := range []error{netns.Veth(ns, stranger, ns, strangersEnd), ns.SetUp(strangersEnd), ns.SetUp(stranger)} {
		if err != nil {
			return nil, err
		}
	}
	link, err := ns.Netlink().LinkByName(stranger)
	if err != nil {
		return nil, err
	}
	for _, to := range []string{"0.0.0.0/0", "::/0"} {
		_, dst, _ := net.ParseCIDR(to)
		err := ns.Netlink().RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: dst, Priority: metric, Protocol: unix.RTPROT_STATIC, Scope: unix.RT_SCOPE_LINK,
		})
		if err != nil {
			return nil, fmt.Errorf("default by %s: %w", stranger, err)
		}
	}
	return func() error { return ns.Netlink().LinkDel(link) }, nil
}

// protocol is that of our routes and rules.
const protocol = 83

var families = map[int]int{4: netlink.FAMILY_V4, 6: netlink.FAMILY_V6}

// deleteRule deletes one of our rules.
func deleteRule(s *stage, f fault) (func() error, error) {
	n, err := strconv.Atoi(f.value)
	if err != nil {
		return nil, err
	}
	version := 4 + 2*(n%2)
	rules, err := s.lab.Gateway.Netlink().RuleList(families[version])
	if err != nil {
		return nil, err
	}
	var ours []int
	for _, r := range rules {
		if r.Protocol == protocol {
			ours = append(ours, r.Priority)
		}
	}
	if len(ours) == 0 {
		return nothing, nil
	}
	_, err = s.lab.Gateway.Run("ip", fmt.Sprintf("-%d", version), "rule", "del", "pref", fmt.Sprint(ours[n%len(ours)]))
	return nothing, absentIsFine(err)
}

// foreignRules adds rules of somebody else's, before ours, that concern none of the
// lab's addresses.
func foreignRules(s *stage, f fault) (func() error, error) {
	count, err := strconv.Atoi(f.value)
	if err != nil {
		return nil, err
	}
	var all []*netlink.Rule
	for i := range count {
		r := netlink.NewRule()
		_, r.Src, _ = net.ParseCIDR(fmt.Sprintf("192.168.77.%d/32", i+1))
		r.Family = netlink.FAMILY_V4
		if i%2 == 1 {
			_, r.Src, _ = net.ParseCIDR(fmt.Sprintf("fd77::%x/128", i+1))
			r.Family = netlink.FAMILY_V6
		}
		r.Priority, r.Table = 5200+i, unix.RT_TABLE_MAIN
		all = append(all, r)
	}
	h := s.lab.Gateway.Netlink()
	for _, r := range all {
		if err := h.RuleAdd(r); err != nil {
			return nil, err
		}
	}
	return func() error {
		var errs []error
		for _, r := range all {
			errs = append(errs, h.RuleDel(r))
		}
		return errors.Join(errs...)
	}, nil
}

// foreignTable is a table of somebody else's, with marks of his own and a counter.
const foreignTable = `table inet somebody {
	chain marks { type filter hook prerouting priority -140; meta mark set meta mark or 0x1; }
	chain forward { type filter hook forward priority 5; counter accept; }
}`

// noNewFlows does to packets what a full table of flows does: those of new ones are
// dropped. How many flows there can be is not a namespace's to set.
const noNewFlows = `table inet full {
	chain in { type filter hook prerouting priority -199; ct state new drop; }
	chain out { type filter hook output priority -199; ct state new drop; }
}`

// nft loads a script in the gateway.
func (s *stage) nft(script string) error {
	var said strings.Builder
	cmd := s.lab.Gateway.Command("nft", "-f", "-")
	cmd.Stdin, cmd.Stderr = strings.NewReader(script), &said
	err := s.lab.Gateway.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("nft: %w: %s", err, said.String())
	}
	return nil
}

// absentIsFine drops the error of deleting what is not there.
func absentIsFine(err error) error {
	if err != nil && strings.Contains(err.Error(), "No such file") {
		return nil
	}
	return err
}

// nftScript loads a script of nft(8), and another to mend it.
func nftScript(begin, mend string) beginner {
	return func(s *stage, _ fault) (func() error, error) {
		if mend == "" {
			return nothing, absentIsFine(s.nft(begin))
		}
		return func() error { return absentIsFine(s.nft(mend)) }, s.nft(begin)
	}
}

// flushRuleset deletes everybody's tables; their owner loads his again.
func flushRuleset(s *stage, _ fault) (func() error, error) {
	return func() error { return s.nft(s.owners) }, s.nft("flush ruleset")
}
