package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// differencesShown bounds what Drift returns; a single difference is enough to act.
const differencesShown = 8

// Drift returns the differences between the kernel and the table, none if the kernel
// holds exactly the table. It is cheap while nobody else has changed the ruleset
// since Drift last found no difference: it then compares only the generation of
// the kernel's ruleset and, after a Move, the maps that the Move changed.
func (k *Kernel) Drift(t Table) ([]string, error) {
	differences, err := k.compare(t)
	if err != nil {
		return nil, fmt.Errorf("firewall: compare the ruleset: %w", err)
	}
	if len(differences) > differencesShown {
		more := fmt.Sprintf("and %d more", len(differences)-differencesShown)
		differences = append(differences[:differencesShown], more)
	}
	return differences, nil
}

// knowledge is the result of a comparison, so that the next one need not read
// everything again. Every transaction of any program increases the kernel's
// generation by one: as long as it is what our own transactions make it, nobody
// else has changed anything.
type knowledge struct {
	generation uint32 // 0: nothing is known
	rules      uint64 // digest of the rules held at that generation
	table      uint64 // digest of rules and elements; 0 after elements were changed
}

// advance records a transaction of ours that changed only elements: those of the
// maps, or those of the sets with a timeout.
func (k *knowledge) advance(maps bool) {
	if k.generation == 0 {
		return
	}
	k.generation++
	if maps {
		k.table = 0
	}
}

func (k *Kernel) compare(t Table) ([]string, error) {
	if k.known.generation != 0 && k.known.rules == t.rulesDigest {
		generation, err := reader{k}.generation()
		switch {
		case err != nil:
			return nil, err
		case generation == k.known.generation && k.known.table == t.digest:
			return nil, nil
		case generation == k.known.generation:
			if same, err := k.compareElements(t); same || err != nil {
				return nil, err
			}
		}
	}
	held, err := k.read()
	if err != nil {
		return nil, err
	}
	k.known = knowledge{}
	differences := held.differences(t)
	if len(differences) == 0 {
		k.known = knowledge{held.generation, t.rulesDigest, t.digest}
	}
	return differences, nil
}

// compareElements reads and compares only the maps that verdicts change; the rest is
// known to be the same.
func (k *Kernel) compareElements(t Table) (same bool, err error) {
	r := reader{k}
	for _, m := range t.maps[:t.moving] {
		elements := map[string]string{}
		if err := r.readMap(m.name, elements); err != nil {
			return false, fmt.Errorf("read map %s: %w", m.name, err)
		}
		if !(heldSet{elements: elements}).has(m.elements) {
			return false, nil
		}
	}
	generation, err := r.generation()
	if err != nil || generation != k.known.generation {
		return false, err
	}
	k.known.table = t.digest
	return true, nil
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
	ours := t.chainNames()
	for _, name := range h.chainNames() {
		if !ours[name] {
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

// ours returns how many of the rules that belong in the chain it has.
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
	for _, name := range timedNames {
		if _, ok := h.sets[name]; !ok {
			out = append(out, "set "+name+" is missing")
		}
	}
	for _, s := range t.calls {
		if _, ok := h.sets[s.name]; !ok {
			out = append(out, "set "+s.name+" is missing")
		}
	}
	for _, s := range t.goal.userSets() {
		switch held, ok := h.sets[s.name]; {
		case !ok:
			out = append(out, "set "+s.name+" is missing")
		case held.attributes != s.attributes():
			out = append(out, "set "+s.name+" has another size or timeout")
		}
	}
	for _, s := range t.rescues {
		switch held, ok := h.sets[s.name]; {
		case !ok:
			out = append(out, "set "+s.name+" is missing")
		case held.attributes != s.attributes():
			out = append(out, "set "+s.name+" has another size or timeout")
		}
	}
	for _, name := range h.setNames() {
		if _, ok := t.rescueSet(name); ok {
			continue
		}
		if _, ok := t.userSet(name); !ok && !isTimed(name) && !t.isCallSet(name) && !t.hasMap(name) {
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
		if chain, ok := s.elements[e.held()]; !ok || chain != e.chain {
			return false
		}
	}
	return true
}

func (t Table) hasMap(name string) bool {
	return slices.ContainsFunc(t.maps, func(m verdictMap) bool { return m.name == name })
}

// chainNames returns the names of the chains, of which many rules may have thousands.
func (t Table) chainNames() map[string]bool {
	names := make(map[string]bool, len(t.chains))
	for _, c := range t.chains {
		names[c.name] = true
	}
	return names
}
