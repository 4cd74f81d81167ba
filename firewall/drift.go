package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// differencesShown bounds what Drift tells; one suffices to act.
const differencesShown = 8

// Drift tells in what the kernel differs from the table: nothing where it holds
// exactly that. It is cheap while nobody changed the ruleset since Drift last
// found nothing: then the kernel's generation settles it.
func (k *Kernel) Drift(t Table) ([]string, error) {
	if k.unchanged(t) {
		return nil, nil
	}
	held, err := read()
	if err != nil {
		return nil, fmt.Errorf("firewall: compare the ruleset: %w", err)
	}
	differences := held.differences(t)
	if len(differences) == 0 {
		k.verified, k.verifiedAs = held.generation, t.digest
	}
	if len(differences) > differencesShown {
		more := fmt.Sprintf("and %d more", len(differences)-differencesShown)
		differences = append(differences[:differencesShown], more)
	}
	return differences, nil
}

// unchanged reports whether the kernel is at the generation, and this the table,
// at which no difference was found.
func (k *Kernel) unchanged(t Table) bool {
	if k.verified == 0 || k.verifiedAs != t.digest {
		return false
	}
	r, err := openReader()
	if err != nil {
		return false
	}
	defer r.conn.Close()
	generation, err := r.generation()
	return err == nil && generation == k.verified
}

func (h heldTable) differences(t Table) []string {
	switch {
	case !h.exists:
		return []string{"table inet " + tableName + " is missing"}
	case h.dormant:
		return []string{"table inet " + tableName + " is dormant"}
	}
	out := h.chainDifferences(t)
	out = append(out, h.setDifferences(t)...)
	for _, name := range t.counters {
		if !slices.ContainsFunc(h.objects, func(o heldObject) bool { return o.name == name }) {
			out = append(out, "counter "+name+" is missing")
		}
	}
	return out
}

func (h heldTable) chainDifferences(t Table) []string {
	var out []string
	for _, c := range t.chains {
		held := h.chains[c.name]
		switch {
		case held == nil:
			out = append(out, "chain "+c.name+" is missing")
		case !held.hookedAs(c.base):
			out = append(out, "chain "+c.name+" has another hook or policy")
		case !slices.EqualFunc(held.rules, c.rules, func(id uint64, r rule) bool { return id == r.id }):
			out = append(out, fmt.Sprintf("chain %s: %d of its %d rules, and %d others",
				c.name, held.ours(c), len(c.rules), len(held.rules)-held.ours(c)))
		}
	}
	for _, name := range h.chainNames() {
		if !t.hasChain(name) {
			out = append(out, "chain "+name+" is not ours")
		}
	}
	return out
}

func (c *heldChain) hookedAs(b *base) bool {
	if b == nil {
		return c.kind == ""
	}
	return c.kind == string(b.kind) && c.hook == uint32(*b.hook) && c.priority == int32(b.priority) &&
		c.policy == uint32(nftables.ChainPolicyAccept)
}

// ours counts the rules that belong in the chain.
func (c *heldChain) ours(want chain) int {
	n := 0
	for _, r := range want.rules {
		if slices.Contains(c.rules, r.id) {
			n++
		}
	}
	return n
}

func (h heldTable) setDifferences(t Table) []string {
	var out []string
	for _, m := range t.maps {
		held, ok := h.sets[m.name]
		if !ok || held.flags&unix.NFT_SET_MAP == 0 {
			out = append(out, "map "+m.name+" is missing")
			continue
		}
		if !held.has(m.elements) {
			out = append(out, "map "+m.name+" has other elements")
		}
	}
	if _, ok := h.sets[graceSet]; !ok {
		out = append(out, "set "+graceSet+" is missing")
	}
	for _, name := range h.setNames() {
		if name != graceSet && !t.hasMap(name) {
			out = append(out, "set "+name+" is not ours")
		}
	}
	return out
}

func (s heldSet) has(entries []entry) bool {
	if len(s.elements) != len(entries) {
		return false
	}
	for _, e := range entries {
		if s.elements[e.key] != e.chain {
			return false
		}
	}
	return true
}

func (t Table) hasMap(name string) bool {
	return slices.ContainsFunc(t.maps, func(m verdictMap) bool { return m.name == name })
}

func (t Table) hasChain(name string) bool {
	return slices.ContainsFunc(t.chains, func(c chain) bool { return c.name == name })
}
