package firewall

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// A ClashKind is a way in which another program's rules interfere with ours.
type ClashKind string

// The kinds of clashes.
const (
	// MarkSet: a rule sets bits of ours in the mark of a packet or of a flow.
	MarkSet ClashKind = "mark-set"
	// MarkCleared: a rule clears bits of ours after our chains have set them.
	MarkCleared ClashKind = "mark-cleared"
	// MarkRestored: a rule replaces a packet's mark by its flow's, after our chains have
	// set it. A flow's mark has the lane of its uplink, but of a new flow it has none yet.
	MarkRestored ClashKind = "mark-restored"
	// MarkMatched: a rule compares bits of ours, such as those of a whole mark, where they
	// are set: it takes a packet or a flow for another one than it was without us.
	MarkMatched ClashKind = "mark-matched"
	// HardwareOffload: a flow table hands flows to the hardware, where no rule is met.
	HardwareOffload ClashKind = "hardware-offload"
)

// Clash is something of another program that interferes with ours.
type Clash struct {
	Kind ClashKind
	// Where is the chain or the flow table, as "inet theirs prerouting", and Handle
	// the rule in it; 0 for a flow table.
	Where  string
	Handle uint64
	// Flow: it is the mark of flows (conntrack) rather than that of packets.
	Flow bool
}

// Clashes looks for rules and flow tables of other programs that interfere with
// ours. Rules with expressions that it does not know are judged by the others.
func Clashes(l lane.Layout) ([]Clash, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("firewall: open netlink: %w", err)
	}
	tables, err := decoded(conn.ListTables)
	if err != nil {
		return nil, fmt.Errorf("firewall: list the tables: %w", err)
	}
	chains, err := decoded(conn.ListChains)
	if err != nil {
		return nil, fmt.Errorf("firewall: list the chains: %w", err)
	}
	var out []Clash
	for _, t := range tables {
		if t.Name == tableName && t.Family == nftables.TableFamilyINet {
			continue
		}
		found, err := clashesOf(conn, t, chains, l)
		if err != nil {
			return nil, fmt.Errorf("firewall: read the table %s: %w", t.Name, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func clashesOf(conn *nftables.Conn, t *nftables.Table, chains []*nftables.Chain, l lane.Layout) ([]Clash, error) {
	var out []Clash
	offloads, err := conn.ListFlowtables(t)
	if err != nil {
		return nil, err
	}
	for _, f := range offloads {
		if f.Flags&nftables.FlowtableFlagsHWOffload != 0 {
			out = append(out, Clash{Kind: HardwareOffload, Where: place(t, f.Name)})
		}
	}
	rules := map[string][]*nftables.Rule{}
	var bases []*nftables.Chain
	for _, c := range chains {
		if c.Table.Name != t.Name || c.Table.Family != t.Family {
			continue
		}
		if rules[c.Name], err = decoded(func() ([]*nftables.Rule, error) { return conn.GetRules(t, c) }); err != nil {
			return nil, err
		}
		if c.Hooknum != nil {
			bases = append(bases, c)
		}
	}
	late, marked := reachable(bases, rules, afterOurs), reachable(bases, rules, seesOurs)
	met := reachable(bases, rules, func(*nftables.Chain) bool { return true })
	for _, c := range chains {
		if c.Table.Name != t.Name || c.Table.Family != t.Family || !met[c.Name] {
			continue
		}
		for _, r := range rules[c.Name] {
			clashes := clashesIn(r.Exprs, l, late[c.Name])
			if len(clashes) == 0 {
				clashes = matchesIn(r.Exprs, l, marked[c.Name])
			}
			for _, clash := range clashes {
				clash.Where, clash.Handle = place(t, c.Name), r.Handle
				out = append(out, clash)
			}
		}
	}
	return out, nil
}

// place names a chain or flow table, as nft(8) does.
func place(t *nftables.Table, name string) string {
	family := map[nftables.TableFamily]string{
		nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
		nftables.TableFamilyARP: "arp", nftables.TableFamilyNetdev: "netdev", nftables.TableFamilyBridge: "bridge",
	}[t.Family]
	return family + " " + t.Name + " " + name
}

// afterOurs reports whether a base chain changes marks after our chains have set them
// and before the kernel has used them.
func afterOurs(c *nftables.Chain) bool {
	hooks := []nftables.ChainHook{*nftables.ChainHookPrerouting, *nftables.ChainHookOutput}
	return c.Priority != nil && slices.Contains(hooks, *c.Hooknum) && *c.Priority > mangleLater
}

// seesOurs reports whether a base chain's packets have marks that our chains have set.
func seesOurs(c *nftables.Chain) bool {
	hooks := []nftables.ChainHook{*nftables.ChainHookForward, *nftables.ChainHookInput, *nftables.ChainHookPostrouting}
	return slices.Contains(hooks, *c.Hooknum) || afterOurs(c)
}

// matchesIn returns the clash, if there is one, of a rule whose verdict depends on a mark.
// marked reports whether its packets may have marks of ours; flows have theirs everywhere.
// That a mark is not a certain one, but for 0, is as true with our bits.
func matchesIn(exprs []expr.Any, l lane.Layout, marked bool) (out []Clash) {
	if !slices.ContainsFunc(exprs, decides) {
		return nil
	}
	depends := func(r register) {
		if ours := r.mark && marked && r.keep&l.MarkMask != 0 || r.flow && r.keep&l.CTMask != 0; ours && len(out) == 0 {
			out = []Clash{{Kind: MarkMatched, Flow: r.flow}}
		}
	}
	follower{
		compared: func(r register, e expr.Any) {
			if cmp, ok := e.(*expr.Cmp); !ok || cmp.Op != expr.CmpOpNeq || native(cmp.Data) == 0 {
				depends(r)
			}
		},
		looked: func(r register, _ *expr.Lookup) (uint32, bool) { depends(r); return 0, false },
		other: func(e expr.Any) {
			m, ok := e.(*expr.Match)
			if !ok || m.Rev != 1 {
				return
			}
			if w, _ := words(m.Info, 2); w != nil {
				depends(register{mark: m.Name == "mark", flow: m.Name == "connmark", keep: w[1]})
			}
		},
	}.follow(exprs)
	return out
}

// decides reports whether an expression decides about a packet, or leads to others that do.
func decides(e expr.Any) bool {
	switch e := e.(type) {
	case *expr.Verdict, *expr.Reject:
		return true
	case *expr.Lookup:
		return e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT
	}
	return false
}

// reachable returns the chains that packets meet from the base chains for which want
// holds, by jumps and gotos.
func reachable(bases []*nftables.Chain, rules map[string][]*nftables.Rule, want func(*nftables.Chain) bool) map[string]bool {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, r := range rules[name] {
			for _, e := range r.Exprs {
				if v, ok := e.(*expr.Verdict); ok && v.Chain != "" {
					visit(v.Chain)
				}
			}
		}
	}
	for _, c := range bases {
		if want(c) {
			visit(c.Name)
		}
	}
	return seen
}

// clashesIn returns the clashes of one rule that writes marks. late reports whether it is
// met after our chains.
func clashesIn(exprs []expr.Any, l lane.Layout, late bool) (out []Clash) {
	follower{
		wrote: func(r register, same, flow bool) {
			bits := l.MarkMask
			if flow {
				bits = l.CTMask
			}
			out = append(out, written(r, same, bits, late, flow)...)
		},
		compared: func(r register, e expr.Any) {
			// Where the mark is known to have none of our bits, none can be lost.
			if c, ok := e.(*expr.Cmp); ok && r.mark && c.Op == expr.CmpOpEq && r.keep&l.MarkMask == l.MarkMask && (native(c.Data)^r.set)&l.MarkMask == 0 {
				late = false
			}
		},
		other: func(e expr.Any) {
			if t, ok := e.(*expr.Target); ok {
				if value, mask, ok := markTarget(t); ok {
					out = append(out, written(register{keep: ^mask, set: value & mask}, true, l.MarkMask, late, false)...)
				}
			}
		},
	}.follow(exprs)
	return out
}

// written returns the clash, if there is one, of writing a register into a mark in
// which bits are ours; same reports whether the register comes from that mark.
func written(r register, same bool, bits uint32, late, flow bool) []Clash {
	if r.set&bits != 0 {
		return []Clash{{Kind: MarkSet, Flow: flow}}
	}
	if late && !flow && r.flow && r.keep&bits == bits {
		return []Clash{{Kind: MarkRestored}}
	}
	if late && (!same || r.keep&bits != bits) {
		return []Clash{{Kind: MarkCleared, Flow: flow}}
	}
	return nil
}

// native reads a mark from a register's bytes; 0 for those of another size.
func native(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// markTarget returns the bits that iptables' target MARK, of revision 2, sets and
// replaces.
func markTarget(t *expr.Target) (value, mask uint32, ok bool) {
	w, _ := words(t.Info, 2)
	if t.Name != "MARK" || t.Rev != 2 || w == nil {
		return 0, 0, false
	}
	return w[0], w[1], true
}

// ctMessageStats asks for the statistics of conntrack, one answer for each processor.
const ctMessageStats = 4

// Tracks returns an error if this kernel does not track connections.
func (k *Kernel) Tracks() error {
	_, err := k.execute(netlink.Message{Header: ctHeader(ctMessageStats, netlink.Dump), Data: nfgenmsg(0, 0)})
	if err != nil {
		return fmt.Errorf("firewall: ask conntrack: %w", err)
	}
	return nil
}
