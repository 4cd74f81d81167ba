package firewall

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// MarkUse is a use of bits of marks, of packets or of flows, by another program's rules.
type MarkUse struct {
	// Where is the first chain that uses them, as "inet theirs prerouting".
	Where string
	Bits  uint32
}

// MarkUses is what the packet filter's rules use of marks.
type MarkUses struct {
	// Others are the uses by other programs, each once: bits that a rule compares, sets
	// or clears under a mask, and the value where it has no mask.
	Others []MarkUse
	// Ours is the lane's mask in a table of ours; 0 if there is none, or it cannot be told.
	Ours uint32
}

// Bounds of the uses that are read, and of the chains; others are left out.
const (
	mostMarkUses   = 256
	mostMarkChains = 256
)

// marking reports whether a rule may use marks: it has an expression meta or ct with a key
// of 3, as both call the mark, or names a match or target of iptables that does.
func marking(exprs []byte) bool {
	key := binary.NativeEndian.AppendUint16(nil, 8)
	key = binary.NativeEndian.AppendUint16(key, unix.NFTA_META_KEY) // the same as of ct
	key = binary.BigEndian.AppendUint32(key, unix.NFT_META_MARK)
	return bytes.Contains(exprs, key) || bytes.Contains(exprs, []byte("MARK\x00")) || bytes.Contains(exprs, []byte("mark\x00"))
}

// MarkUses reads the rules of all tables that may use marks. Expressions that it does not
// know, and what is not in nftables, such as rules of iptables-legacy, are left out.
func (k *Kernel) MarkUses() (MarkUses, error) {
	conn, err := nftables.New()
	if err != nil {
		return MarkUses{}, fmt.Errorf("firewall: open netlink: %w", err)
	}
	places, err := k.rulesWith(marking)
	if err != nil {
		return MarkUses{}, err
	}
	var out MarkUses
	seen, read := map[uint32]bool{}, map[rulePlace]bool{}
	for _, at := range places {
		t := &nftables.Table{Name: at.table, Family: nftables.TableFamily(at.family)}
		ours := t.Name == tableName && t.Family == nftables.TableFamilyINet
		id := rulePlace{family: at.family, table: at.table, chain: at.chain}
		if read[id] || !ours && len(read) >= mostMarkChains {
			continue
		}
		read[id] = true
		rules, err := decoded(func() ([]*nftables.Rule, error) { return conn.GetRules(t, &nftables.Chain{Name: at.chain, Table: t}) })
		if err != nil {
			continue // it is gone
		}
		elements := func(set string) (keys, values uint32) { return elementsOf(conn, t, set) }
		for _, r := range rules {
			for _, use := range usesIn(r.Exprs, elements) {
				switch {
				case ours:
					if _, whole := lane.DefaultLayout.WithMarkMask(use.bits); whole && !use.flow {
						out.Ours = use.bits
					}
				case use.bits != 0 && !seen[use.bits] && len(out.Others) < mostMarkUses:
					seen[use.bits] = true
					out.Others = append(out.Others, MarkUse{Where: place(t, at.chain), Bits: use.bits})
				}
			}
		}
	}
	return out, nil
}

// FlowMarks returns the marks that flows have, each once: they show what other programs
// use that is not in nftables. It is for a start that finds nothing of ours.
func (k *Kernel) FlowMarks() ([]uint32, error) {
	var out []uint32
	seen := map[uint32]bool{}
	_, err := eachFlow(0, func(f flow) (flowChange, uint32) {
		if f.mark != 0 && !seen[f.mark] && len(out) < mostMarkUses {
			seen[f.mark] = true
			out = append(out, f.mark)
		}
		return keepFlow, 0
	})
	if err != nil {
		return nil, fmt.Errorf("firewall: read the marks of flows: %w", err)
	}
	return out, nil
}

// elementsOf returns the bits of all keys of a set that may be marks, and of all values
// of a map; none where it cannot be read.
func elementsOf(conn *nftables.Conn, t *nftables.Table, name string) (keys, values uint32) {
	set, err := decoded(func() (*nftables.Set, error) { return conn.GetSetByName(t, name) })
	if err != nil {
		return 0, 0
	}
	elements, err := decoded(func() ([]nftables.SetElement, error) { return conn.GetSetElements(set) })
	if err != nil {
		return 0, 0
	}
	for _, e := range elements {
		keys, values = keys|native(e.Key), values|native(e.Val)
	}
	return keys, values
}

// bitsUsed are bits of marks that a rule uses; flow: of those of flows.
type bitsUsed struct {
	bits uint32
	flow bool
}

// usesIn returns the uses of one rule. elements are as in elementsOf.
func usesIn(exprs []expr.Any, elements func(set string) (keys, values uint32)) (out []bitsUsed) {
	use := func(b uint32, flow bool) { out = append(out, bitsUsed{b, flow}) }
	follower{
		wrote: func(r register, same, flow bool) { use(r.changes(same), flow) },
		compared: func(r register, e expr.Any) {
			switch e := e.(type) {
			case *expr.Cmp:
				use(r.compared(native(e.Data), e.Op != expr.CmpOpEq && e.Op != expr.CmpOpNeq))
			case *expr.Range:
				use(r.compared(native(e.ToData), true))
			}
		},
		looked: func(r register, e *expr.Lookup) (uint32, bool) {
			if !r.mark && !r.flow && !e.IsDestRegSet {
				return 0, false // perhaps a list of a hundred thousand addresses
			}
			keys, values := elements(e.SetName)
			use(r.compared(keys, false))
			return values, true
		},
		other: func(e expr.Any) {
			var b uint32
			var flow, ok bool
			switch e := e.(type) {
			case *expr.Target:
				b, flow, ok = markTargetUse(e.Name, e.Rev, e.Info)
			case *expr.Match:
				b, flow, ok = markMatchUse(e.Name, e.Rev, e.Info)
			}
			if ok {
				use(b, flow)
			}
		},
	}.follow(exprs)
	return out
}

// changes returns the bits that are used where the register is written into a mark; same
// reports whether it comes from that one. All of one mark in the other shows nothing.
func (r register) changes(same bool) uint32 {
	switch {
	case same:
		return ^r.keep | r.set
	case (r.mark || r.flow) && r.keep != ^uint32(0):
		return r.keep | r.set
	}
	return r.set
}

// compared returns the bits of a mark that are used where the register is compared with
// a value, or by its size.
func (r register) compared(value uint32, size bool) (used uint32, flow bool) {
	switch {
	case !r.mark && !r.flow:
		return 0, false
	case r.keep != ^uint32(0):
		return r.keep, r.flow
	case size:
		return ^uint32(0) >> bits.LeadingZeros32(value), r.flow
	}
	return value, r.flow
}

// under returns the bits that a value and its mask use: without a mask, those of the
// value.
func under(value, mask uint32) uint32 {
	if mask == ^uint32(0) {
		return value
	}
	return value | mask
}

// words returns the first n words of what nftables does not know of iptables' matches
// and targets.
func words(info xt.InfoAny, n int) ([]uint32, []byte) {
	raw, ok := info.(*xt.Unknown)
	if !ok || len(*raw) < 4*n {
		return nil, nil
	}
	var out []uint32
	for i := range n {
		out = append(out, binary.NativeEndian.Uint32((*raw)[4*i:]))
	}
	return out, (*raw)[4*n:]
}

// markTargetUse returns the bits that iptables' targets MARK, of revision 2, and
// CONNMARK, of 1 and 2, use.
func markTargetUse(name string, revision uint32, info xt.InfoAny) (used uint32, flow, ok bool) {
	switch {
	case name == "MARK" && revision == 2:
		if w, _ := words(info, 2); w != nil {
			return under(w[0], w[1]), false, true
		}
	case name == "CONNMARK" && (revision == 1 || revision == 2):
		w, rest := words(info, 3)
		mode := 0
		if revision == 2 {
			mode = 2 // after a shift and its width
		}
		if w == nil || len(rest) <= mode {
			return 0, false, false
		}
		if rest[mode] == 0 { // it sets a value
			return under(w[0], w[1]), true, true
		}
		return under(0, w[1]) | under(0, w[2]), true, true // it saves or restores under both masks
	}
	return 0, false, false
}

// markMatchUse returns the bits that iptables' matches mark and connmark, of revision 1,
// look at.
func markMatchUse(name string, revision uint32, info xt.InfoAny) (used uint32, flow, ok bool) {
	if name != "mark" && name != "connmark" || revision != 1 {
		return 0, false, false
	}
	w, _ := words(info, 2)
	if w == nil {
		return 0, false, false
	}
	return under(w[0], w[1]), name == "connmark", true
}
