package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
)

// carryTable is the internet's first table with the default route by one ISP alone.
const carryTable = 100

// Carry has the ISP of an uplink (from 0) carry these prefixes of the LAN as they are, as
// one does whose customer has addresses of his own. From then on the internet answers
// each flow by the ISP that its latest packet came by.
func (lab *Lab) Carry(uplink int, prefixes ...netip.Prefix) error {
	up := lab.Uplinks[uplink]
	lab.Wire[uplink].Accept(prefixes...)
	for _, p := range prefixes {
		hop := up.Address4
		if p.Addr().Is6() {
			hop = up.Address6
		}
		if err := via(lab.ISP[uplink], p, customerLink, hop); err != nil {
			return err
		}
	}
	lab.mu.Lock()
	defer lab.mu.Unlock()
	if lab.carrying {
		return nil
	}
	lab.carrying = true
	// A socket finds a way before its packet has a mark, so there has to be any.
	for _, p := range []netip.Prefix{default4, default6} {
		if err := via(lab.Internet, p, internetLink(0), ispAddress(0, p)); err != nil {
			return err
		}
	}
	for i := range lab.Uplinks {
		if err := answerBy(lab.Internet, i); err != nil {
			return fmt.Errorf("answer by ISP %d: %w", i+1, err)
		}
	}
	return nft(lab.Internet, func(c *nftables.Conn) { markFlows(c, len(lab.Uplinks)) })
}

// ispAddress returns an ISP's address towards the internet, in a prefix's family.
func ispAddress(isp int, p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return host(backbone6(isp), 1)
	}
	return host(backbone4(isp), 1)
}

// answerBy sends marked packets of the internet to an ISP.
func answerBy(internet *netns.NS, i int) error {
	h := internet.Netlink()
	link, err := h.LinkByName(internetLink(i))
	if err != nil {
		return err
	}
	for family, to := range map[int]netip.Prefix{netlink.FAMILY_V4: default4, netlink.FAMILY_V6: default6} {
		if err := h.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(to), Gw: ispAddress(i, to).AsSlice(), Table: carryTable + i,
		}); err != nil {
			return err
		}
		rule := netlink.NewRule()
		rule.Family, rule.Mark, rule.Table, rule.Priority = family, uint32(i+1), carryTable+i, carryTable+i
		if err := h.RuleAdd(rule); err != nil {
			return err
		}
	}
	return nil
}

// markFlows has the flows of the internet remember their ISP, and its packets follow
// their flows.
func markFlows(c *nftables.Conn, isps int) {
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "carry"})
	arriving := c.AddChain(&nftables.Chain{
		Name: "arriving", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle,
	})
	for i := range isps {
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, internetLink(i))
		c.AddRule(&nftables.Rule{Table: table, Chain: arriving, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Immediate{Register: 1, Data: binary.NativeEndian.AppendUint32(nil, uint32(i+1))},
			&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
		}})
	}
	answers := c.AddChain(&nftables.Chain{
		Name: "answers", Table: table, Type: nftables.ChainTypeRoute,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: answers, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}})
}
