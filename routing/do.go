package routing

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Do makes one change. It is no error if the change has taken effect already: the
// route or rule to delete is gone, or the rule to add exists. EEXIST for an added
// route is an error: another program uses the slot.
func (k *Netlink) Do(op Op) error {
	switch op.Action {
	case ReplaceRoute:
		return k.write.RouteReplace(netlinkRoute(op.Route))
	case AddRoute:
		return k.write.RouteAdd(netlinkRoute(op.Route))
	case DeleteRoute:
		r := netlinkRoute(op.Route)
		r.Scope = netlink.SCOPE_NOWHERE // any
		return unless(k.write.RouteDel(r), unix.ESRCH)
	case AddRule:
		return unless(k.write.RuleAdd(netlinkRule(op.Rule)), unix.EEXIST)
	case DeleteRule:
		return unless(k.write.RuleDel(netlinkRule(op.Rule)), unix.ENOENT)
	}
	panic(fmt.Sprintf("routing: unknown action %d", op.Action))
}

// unless returns err, or nil if it is the harmless one.
func unless(err error, harmless unix.Errno) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}

func netlinkRoute(r Route) *netlink.Route {
	out := &netlink.Route{
		Family:   int(afOf(r.Family)),
		Dst:      ipNet(r.Dst),
		Table:    r.Table,
		Tos:      int(r.TOS),
		Priority: int(r.Metric),
		Protocol: netlink.RouteProtocol(r.Protocol),
		Type:     int(r.Type),
	}
	if len(r.Hops) > 1 {
		for _, h := range r.Hops {
			out.MultiPath = append(out.MultiPath, netlinkHop(r.Family, h))
		}
		return out
	}
	for _, h := range r.Hops {
		hop := netlinkHop(r.Family, h)
		out.LinkIndex, out.Gw, out.Via, out.Flags = hop.LinkIndex, hop.Gw, hop.Via, hop.Flags
		if !h.Gateway.IsValid() && r.Family == failover.IPv4 {
			out.Scope = netlink.SCOPE_LINK
		}
	}
	return out
}

func netlinkHop(f failover.Family, h Hop) *netlink.NexthopInfo {
	out := &netlink.NexthopInfo{LinkIndex: h.Index, Hops: h.Weight - 1}
	switch {
	case !h.Gateway.IsValid():
	case h.Gateway.Is6() && f == failover.IPv4:
		out.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.Gateway.AsSlice()}
	default:
		out.Gw = h.Gateway.AsSlice()
	}
	if h.OnLink {
		out.Flags = unix.RTNH_F_ONLINK
	}
	return out
}

func netlinkRule(r Rule) *netlink.Rule {
	out := netlink.NewRule()
	out.Family = int(afOf(r.Family))
	out.Priority = int(r.Priority)
	out.Protocol = lane.Protocol
	out.Table = r.Table
	if r.Other {
		return out // priority and protocol identify it; the rest is not known
	}
	out.Type = unix.RTN_UNICAST
	if r.Unreachable {
		out.Type = unix.RTN_UNREACHABLE
	}
	if r.From.IsValid() {
		out.Src = ipNet(r.From)
	}
	if r.Mask != 0 {
		out.Mark, out.Mask = r.Mark, &r.Mask
	}
	out.OifName = r.OIF
	out.SuppressPrefixlen = r.Suppress
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
