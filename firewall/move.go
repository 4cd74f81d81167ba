package firewall

import (
	"fmt"

	"github.com/google/nftables"
)

// Move changes a table that the kernel holds into another. If the two differ only in
// lost pairs, as at a verdict, that is a small transaction of elements. Otherwise,
// or if the kernel turns out not to hold from, it is Apply(to).
func (k *Kernel) Move(from, to Table) error {
	if from.digest == to.digest {
		return nil
	}
	if from.rulesDigest != to.rulesDigest {
		return k.Apply(to)
	}
	err := k.transactElements(func(tx *transaction) {
		for i := range to.maps {
			if sameEntries(from.maps[i].elements, to.maps[i].elements) {
				continue
			}
			tx.changeMap(from.maps[i], to.maps[i])
		}
		tx.FlushSet(fallenSetOf(tx.table)) // the verdict says where they go
		for _, s := range to.emptied(from.elementsOf) {
			tx.FlushSet(s.set(tx.table))
		}
	})
	if err == nil {
		k.known.advance(true)
		return nil
	}
	// Deleting an element that does not exist fails: somebody changed the table.
	if again := k.Apply(to); again != nil {
		return fmt.Errorf("firewall: move flows: %w; then %w", err, again)
	}
	return nil
}

// SameRules reports whether two tables differ at most in the elements of maps, so that
// a move from one to the other keeps the counters.
func (t Table) SameRules(o Table) bool { return t.rulesDigest == o.rulesDigest }

func (tx *transaction) changeMap(from, to verdictMap) {
	set := to.set(tx.table)
	gone, come := without(from.elements, to.elements), without(to.elements, from.elements)
	if to.keys.interval && len(gone)+len(come) > 0 {
		gone, come = from.elements, to.elements // starts and ends belong together
	}
	for _, part := range []struct {
		entries []entry
		change  func(*nftables.Set, []nftables.SetElement) error
	}{
		{gone, tx.SetDeleteElements},
		{come, tx.SetAddElements},
	} {
		for len(part.entries) > 0 {
			n := min(len(part.entries), elementsAtOnce)
			tx.try(part.change(set, setElements(part.entries[:n])))
			part.entries = part.entries[n:]
		}
	}
}

// sameEntries reports whether two lists are the same in memory, which saves comparing
// those that no verdict changes.
func sameEntries(a, b []entry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// without returns the entries that are not in others.
func without(entries, others []entry) []entry {
	known := make(map[entry]bool, len(others))
	for _, e := range others {
		known[e] = true
	}
	var out []entry
	for _, e := range entries {
		if !known[e] {
			out = append(out, e)
		}
	}
	return out
}
