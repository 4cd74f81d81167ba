package firewall

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// elementsAtOnce bounds the elements of one command: the length of an attribute over
// 64 KiB overflows without an error.
const elementsAtOnce = 1000

// Apply makes the kernel hold exactly this table, in one transaction: every packet
// is processed either by all of the old rules or by all of the new ones. Counters
// and the sets with a timeout keep their contents. Objects that other programs added to the
// table are removed.
//
// If the kernel holds objects with our names that cannot be changed into ours,
// such as a base chain of another priority, the whole table is replaced, also in
// one transaction, and counters restart at zero.
func (k *Kernel) Apply(t Table) error {
	k.known = knowledge{}
	held, err := k.read()
	if err != nil {
		return fmt.Errorf("firewall: apply the ruleset: %w", err)
	}
	if !held.setsFit(t) {
		// What is in them now comes along. If it cannot be read, what was known does.
		_, _ = k.ReadSets(t.goal.Sets)
	}
	err = k.transact(func(tx *transaction) {
		tx.AddTable(tx.table)
		tx.FlushTable(tx.table)
		tx.removeStale(held, t)
		tx.addSets(k, held, t)
		tx.add(t)
	})
	if err != nil && !k.holds(t) { // a lost acknowledgement is not a failure
		err = errors.Join(err, k.replace(t))
		if k.holds(t) {
			return nil
		}
		return fmt.Errorf("firewall: apply the ruleset: %w", err)
	}
	return nil
}

// holds reports whether the kernel holds the table, false if it cannot be read.
func (k *Kernel) holds(t Table) bool {
	differences, err := k.Drift(t)
	return err == nil && len(differences) == 0
}

// replace deletes the table and adds it again, counters included.
func (k *Kernel) replace(t Table) error {
	return k.transact(func(tx *transaction) {
		tx.AddTable(tx.table) // so that there is one to delete
		tx.DelTable(tx.table)
		tx.AddTable(tx.table)
		tx.addSets(k, heldTable{}, t)
		tx.add(t)
	})
}

// removeStale removes objects that the table no longer has. Rules have been flushed
// already. Elements refer to chains, so they are removed before them.
func (tx *transaction) removeStale(held heldTable, t Table) {
	emptied := t.emptied(func(name string) map[string]string { return held.sets[name].elements })
	for _, name := range held.setNames() {
		set := &nftables.Set{Table: tx.table, Name: name}
		user, isUsers := t.userSet(name)
		rescue, isRescue := t.rescueSet(name)
		switch {
		case isTimed(name), t.isCallSet(name), isUsers && held.sets[name].attributes == user.attributes():
		case isRescue && held.sets[name].attributes == rescue.attributes():
			if slices.Contains(emptied, rescue) {
				tx.FlushSet(set)
			}
		case t.hasMap(name):
			tx.FlushSet(set)
		default:
			tx.FlushSet(set)
			tx.DelSet(set)
		}
	}
	ours := t.chainNames()
	for _, name := range held.chainNames() {
		if !ours[name] {
			tx.DelChain(&nftables.Chain{Table: tx.table, Name: name})
		}
	}
	for _, o := range held.objects {
		if o.kind != unix.NFT_OBJECT_COUNTER || !slices.Contains(t.counters, o.name) {
			tx.DeleteObject(&nftables.NamedObj{Table: tx.table, Name: o.name, Type: nftables.ObjType(o.kind), Obj: &expr.Counter{}})
		}
	}
}

func (tx *transaction) add(t Table) {
	for _, name := range t.counters {
		tx.AddObj(&nftables.CounterObj{Table: tx.table, Name: name})
	}
	for _, set := range timedSets(tx.table) {
		set.ID = tx.setID()
		tx.try(tx.AddSet(set, nil))
	}
	for _, s := range t.calls {
		tx.addCallSet(s)
	}
	tx.addRescueSets(t)
	for _, c := range t.chains {
		tx.addChain(c)
	}
	for _, m := range t.maps {
		tx.addMap(m)
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			tx.addRule(c, r)
		}
	}
}

func (tx *transaction) addChain(c chain) {
	out := &nftables.Chain{Table: tx.table, Name: c.name}
	if c.base != nil {
		policy := nftables.ChainPolicyAccept
		out.Type, out.Hooknum, out.Priority, out.Policy = c.base.kind, c.base.hook, &c.base.priority, &policy
	}
	tx.AddChain(out)
}

func (tx *transaction) addMap(m verdictMap) {
	set := m.set(tx.table)
	set.ID = tx.setID()
	tx.try(tx.AddSet(set, nil))
	for part := range slices.Chunk(m.elements, elementsAtOnce) {
		tx.try(tx.SetAddElements(set, setElements(part)))
	}
}

func (m verdictMap) set(t *nftables.Table) *nftables.Set {
	set := &nftables.Set{
		Table: t, Name: m.name, IsMap: true, KeyByteOrder: binaryutil.NativeEndian,
		KeyType: m.keys.datatype, DataType: nftables.TypeVerdict, Concatenation: m.keys.pair,
		Interval: m.keys.interval,
	}
	if m.keys.network {
		set.KeyByteOrder = binaryutil.BigEndian
	}
	return set
}

func setElements(entries []entry) []nftables.SetElement {
	out := make([]nftables.SetElement, len(entries))
	for i, e := range entries {
		out[i] = nftables.SetElement{Key: []byte(e.key), IntervalEnd: e.end}
		if !e.end {
			_, out[i].VerdictData = e.verdict()
		}
	}
	return out
}

func (tx *transaction) addRule(c chain, r rule) {
	var exprs []expr.Any
	for _, p := range r.pieces {
		exprs = append(exprs, p.exprs...)
		if p.set != nil {
			exprs = append(exprs, tx.lookup(p.set))
		}
	}
	tx.AddRule(&nftables.Rule{
		Table: tx.table, Chain: &nftables.Chain{Table: tx.table, Name: c.name},
		Exprs: exprs, UserData: r.userData(),
	})
}

// lookup adds an anonymous set and returns the lookup in it.
func (tx *transaction) lookup(s *anonymousSet) expr.Any {
	set := &nftables.Set{
		Table: tx.table, ID: tx.setID(), Name: "__set%d", Anonymous: true, Constant: true,
		Interval: true, KeyType: s.keyType,
	}
	tx.try(tx.AddSet(set, nil))
	// The library refuses to add to an anonymous set; to the kernel it is one until a rule
	// uses it.
	filled := *set
	filled.Anonymous, filled.Constant = false, false
	for part := range slices.Chunk(s.elements, elementsAtOnce) {
		tx.try(tx.SetAddElements(&filled, part))
	}
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: s.invert}
}

// userDataID is the type of user data that holds a rule's id. nft(8) shows type 0,
// the comment, and ignores types that it does not know.
const userDataID userdata.Type = 83

func (r rule) userData() []byte {
	var data []byte
	if r.comment != "" {
		data = userdata.AppendString(data, userdata.TypeComment, r.comment)
	}
	return userdata.Append(data, userDataID, idBytes(r.id))
}
