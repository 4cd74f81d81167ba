package lab

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/testenv/netns"
)

// buildFirewall makes the table inet lab, which a gateway's owner would have before
// installing Swerve.
func (lab *Lab) buildFirewall() error {
	if lab.Options.Firewall == FirewallNone {
		return nil
	}
	return nft(lab.Gateway, func(c *nftables.Conn) {
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "lab"})
		addTracking(c, table)
		if lab.Options.Firewall == FirewallMasquerade {
			addMasquerade(c, table, "wan")
		}
	})
}

// nft commits one transaction in a namespace.
func nft(ns *netns.NS, fill func(*nftables.Conn)) error {
	return ns.Do(func() error {
		c, err := nftables.New() // this thread opens the socket, so it is inside
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		fill(c)
		if err := c.Flush(); err != nil {
			return fmt.Errorf("commit to nftables: %w", err)
		}
		return nil
	})
}

// addTracking adds the rule ct state established,related accept. The kernel tracks
// connections only if a rule requires it.
func addTracking(c *nftables.Conn, table *nftables.Table) {
	chain := c.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	known := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	none := make([]byte, 4)
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: known, Xor: none},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: none},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}})
}

// addMasquerade adds rules for every link whose name has this prefix: all of IPv4, and
// IPv6 from fc00::/7.
func addMasquerade(c *nftables.Conn, table *nftables.Table, links string) {
	chain := c.AddChain(&nftables.Chain{
		Name: "srcnat", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	family := func(nfproto byte) []expr.Any {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(links)},
			&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{nfproto}},
		}
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(family(unix.NFPROTO_IPV4), &expr.Masq{})})
	const ip6saddr = 8 // its offset in the header
	uniqueLocal := netip.MustParsePrefix("fc00::/7")
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(family(unix.NFPROTO_IPV6),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: ip6saddr, Len: 16},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 16, Mask: ipNet(uniqueLocal).Mask, Xor: make([]byte, 16)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: uniqueLocal.Addr().AsSlice()},
		&expr.Masq{},
	)})
}
