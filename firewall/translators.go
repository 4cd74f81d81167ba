package firewall

import (
	"fmt"

	"github.com/google/nftables"
)

// Translators returns where other programs translate addresses in the network namespace of
// the calling thread: the chains with rules that translate destinations, such as "ip nat
// PREROUTING" with port forwards in it, and those that translate sources. What iptables has
// in the kernel's older tables is not among them.
func Translators() (destinations, sources []string, err error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, nil, fmt.Errorf("firewall: open netlink: %w", err)
	}
	chains, err := decoded(conn.ListChains)
	if err != nil {
		return nil, nil, fmt.Errorf("firewall: list the chains: %w", err)
	}
	for _, c := range chains {
		ours := c.Table.Name == tableName && c.Table.Family == nftables.TableFamilyINet
		if ours || c.Type != nftables.ChainTypeNAT || c.Hooknum == nil {
			continue
		}
		rules, err := decoded(func() ([]*nftables.Rule, error) { return conn.GetRules(c.Table, c) })
		if err != nil {
			return nil, nil, fmt.Errorf("firewall: read the chain %s: %w", place(c.Table, c.Name), err)
		}
		if len(rules) == 0 {
			continue
		}
		switch *c.Hooknum {
		case *nftables.ChainHookPrerouting, *nftables.ChainHookOutput:
			destinations = append(destinations, place(c.Table, c.Name))
		default:
			sources = append(sources, place(c.Table, c.Name))
		}
	}
	return destinations, sources, nil
}
