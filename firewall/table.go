package firewall

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Table is the complete table inet swerve, as the kernel should hold it. It is
// computed by Ruleset and never changes afterwards.
type Table struct {
	goal     Goal // sorted
	counters []string
	// maps, first those whose elements a verdict changes, of which there are moving.
	maps   []verdictMap
	moving int
	chains []chain
	// calls are the sets that packets fill.
	calls []callSet
	// rescues are those of addresses that are tried and rescued.
	rescues []rescueSet
	// rulesDigest covers all but the maps' elements, stillDigest those of the maps that no
	// verdict changes, digest everything.
	rulesDigest, stillDigest, digest uint64
}

// A verdictMap is a named map to chains, from masked conntrack marks, from names of
// devices, or from addresses.
//
// The maps are named although only one rule uses each, because the library declares
// every anonymous set as big-endian, and nft(8) would then list marks and names
// wrongly.
type verdictMap struct {
	name, about string
	keys        keyKind
	elements    []entry
}

// keyKind is the type of a map's keys.
type keyKind struct {
	text     string
	datatype nftables.SetDatatype
	// network: big-endian; pair: two values; interval: each element begins or ends an
	// interval, in the order of keys.
	network, pair, interval bool
}

var (
	markKeys   = keyKind{text: "type mark", datatype: nftables.TypeMark}
	deviceKeys = keyKind{text: "type ifname", datatype: nftables.TypeIFName}
)

// entry maps one key to a chain.
type entry struct {
	key   string // its bytes
	text  string // as nft(8) writes it, for an interval both of its ends
	chain string // empty: the verdict is to return
	// jump comes back after the chain.
	jump bool
	// end: the first key after an interval.
	end bool
	// number is one more than that of the user's rule that it is for; 0 for none.
	number int
}

// verdict returns what the element leads to, as text and as an expression.
func (e entry) verdict() (string, *expr.Verdict) {
	switch {
	case e.chain == "":
		return "return", &expr.Verdict{Kind: expr.VerdictReturn}
	case e.jump:
		return "jump " + e.chain, &expr.Verdict{Kind: expr.VerdictJump, Chain: e.chain}
	}
	return "goto " + e.chain, &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.chain}
}

// held is how an element is known among those that were read.
func (e entry) held() string { return heldKey(e.key, e.end) }

// heldKey tells the end of an interval from the start of the next one.
func heldKey(key string, end bool) string {
	if end {
		return key + " end"
	}
	return key
}

func markEntry(mark uint32, chain string) entry {
	return entry{key: string(native32(mark)), text: fmt.Sprintf("0x%08x", mark), chain: chain}
}

func deviceEntry(device, chain string) entry {
	return entry{key: string(ifname(device)), text: fmt.Sprintf("%q", device), chain: chain}
}

type chain struct {
	name, about string
	base        *base // nil for a chain that is only jumped to
	rules       []rule
}

// base attaches a chain to a netfilter hook. Its policy is always accept: a router
// without its rules still forwards.
type base struct {
	kind     nftables.ChainType
	hookText string
	hook     *nftables.ChainHook
	// priorityText is the priority as nft(8) text.
	priorityText string
	priority     nftables.ChainPriority
}

// A rule is a sequence of pieces, and a comment that nft(8) shows.
type rule struct {
	pieces  []piece
	comment string
	// id identifies the rule, see ruleID.
	id uint64
	// number is one more than that of the user's rule that it is for; 0 for none.
	number int
}

// A piece is one match or statement in both of its forms.
type piece struct {
	text  string
	exprs []expr.Any
	// set, if not nil, is looked up by register 1 after exprs.
	set *anonymousSet
}

// An anonymousSet has intervals of addresses, for the only rule that uses it.
type anonymousSet struct {
	keyType  nftables.SetDatatype
	invert   bool
	elements []nftables.SetElement
}

func newRule(pieces ...piece) rule { return rule{pieces: pieces} }

// because returns the rule with a comment, which is a constant or a name from the
// configuration; neither contains quotes.
func (r rule) because(comment string) rule {
	r.comment = comment
	return r
}

// numbered returns the rule as one for the user's rule with a number, from 0.
func (r rule) numbered(n int) rule {
	r.number = n + 1
	return r.because(fmt.Sprintf("rules[%d]", n))
}

func (r rule) String() string {
	texts := make([]string, 0, len(r.pieces)+1)
	for _, p := range r.pieces {
		if p.text != "" {
			texts = append(texts, p.text)
		}
	}
	if r.comment != "" {
		texts = append(texts, `comment "`+r.comment+`"`)
	}
	return strings.Join(texts, " ")
}

// ruleID identifies a rule by its chain and text. It is stored in the rule's user
// data, which nft(8) does not show, so that reading the kernel's rules shows which
// of them are ours and unchanged. Comparing expressions would not: the kernel
// returns them in another form, and google/nftables omits some.
func ruleID(chain, text string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", chain, text)
	return h.Sum64()
}

// sealRules computes the ids of the rules, and the digest of everything but
// elements.
func (t *Table) sealRules() {
	rules := fnv.New64a()
	for _, c := range t.counters {
		fmt.Fprintf(rules, "counter %s\n", c)
	}
	for _, m := range t.maps {
		fmt.Fprintf(rules, "map %s\n", m.name)
	}
	for _, s := range t.goal.Sets {
		fmt.Fprintf(rules, "set %+v\n", s)
	}
	for _, s := range t.rescues {
		fmt.Fprintf(rules, "set %+v\n", s)
	}
	for i, c := range t.chains {
		fmt.Fprintf(rules, "chain %s\n", c.name)
		if c.base != nil {
			fmt.Fprintf(rules, "%s %s %d\n", c.base.kind, c.base.hookText, c.base.priority)
		}
		for j, r := range c.rules {
			id := ruleID(c.name, r.String())
			t.chains[i].rules[j].id = id
			rules.Write(idBytes(id))
		}
	}
	t.rulesDigest = rules.Sum64()
}

// sealElements computes the digest of everything, of which that of the maps that no
// verdict changes is known if it is not 0.
func (t *Table) sealElements() {
	if t.stillDigest == 0 {
		t.stillDigest = digestOf(t.maps[t.moving:])
	}
	h := fnv.New64a()
	for _, d := range []uint64{t.rulesDigest, t.stillDigest, digestOf(t.maps[:t.moving])} {
		h.Write(idBytes(d))
	}
	t.digest = h.Sum64()
}

func digestOf(maps []verdictMap) uint64 {
	h := fnv.New64a()
	for _, m := range maps {
		io.WriteString(h, m.name)
		for _, e := range m.elements {
			io.WriteString(h, e.held())
			io.WriteString(h, e.chain)
		}
	}
	return h.Sum64()
}
