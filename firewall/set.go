package firewall

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/failover"
)

// Set is a set of addresses that others fill, in each family its own. Its elements are
// neither compared nor repaired.
type Set struct {
	// Name is the user's; the sets are set_NAME4 and set_NAME6.
	Name string
	// Timeout is for how long an element stays that was added without one; 0: for ever.
	Timeout time.Duration
	// Size is how many elements it holds at most in each family; 0: no bound.
	Size uint32
	// Comment is shown by nft(8).
	Comment string
}

// setName returns the name of a set in nftables.
func setName(name string, f failover.Family) string {
	return "set_" + name + [2]string{"4", "6"}[f]
}

func (g Goal) hasSet(name string) bool {
	return slices.ContainsFunc(g.Sets, func(s Set) bool { return s.Name == name })
}

// inSet matches addresses in a named set.
func (a address) inSet(name string) piece {
	return piece{text: a.text + " @" + name, exprs: append(nfproto(a.family).exprs,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length},
		&expr.Lookup{SourceRegister: 1, SetName: name},
	)}
}

// setAttributes are what the kernel keeps of a set, and cannot change.
type setAttributes struct {
	timeout time.Duration
	size    uint32
}

func (a *setAttributes) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() == unix.NFTA_SET_DESC_SIZE {
			a.size = ad.Uint32()
		}
	}
	return ad.Err()
}

// setsFit reports whether the user's sets that are held can stay as they are.
func (h heldTable) setsFit(t Table) bool {
	return !slices.ContainsFunc(t.goal.userSets(), func(s userSet) bool {
		held, ok := h.sets[s.name]
		return ok && held.attributes != s.attributes()
	})
}

func (s Set) attributes() setAttributes { return setAttributes{s.Timeout, s.Size} }

// userSet is one of our sets of the user's.
type userSet struct {
	name   string
	family failover.Family
	Set
}

// userSets returns the sets of both families by their names in nftables.
func (g Goal) userSets() []userSet {
	var out []userSet
	for _, s := range g.Sets {
		for _, f := range failover.Families {
			out = append(out, userSet{setName(s.Name, f), f, s})
		}
	}
	return out
}

func (t Table) userSet(name string) (userSet, bool) {
	i := slices.IndexFunc(t.goal.userSets(), func(s userSet) bool { return s.name == name })
	if i < 0 {
		return userSet{}, false
	}
	return t.goal.userSets()[i], true
}

// set returns a set as the library takes it.
func (s userSet) set(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: s.name, KeyType: [2]nftables.SetDatatype{nftables.TypeIPAddr, nftables.TypeIP6Addr}[s.family],
		KeyByteOrder: binaryutil.BigEndian, Interval: true, HasTimeout: true, Timeout: s.Timeout, Size: s.Size, Comment: s.Comment,
	}
}

func (s userSet) write(b *strings.Builder) {
	fmt.Fprintf(b, "  set %s {\n    type %s\n    flags interval, timeout\n", s.name, [2]string{"ipv4_addr", "ipv6_addr"}[s.family])
	if s.Timeout > 0 {
		fmt.Fprintf(b, "    timeout %ds\n", int64(s.Timeout/time.Second))
	}
	if s.Size > 0 {
		fmt.Fprintf(b, "    size %d\n", s.Size)
	}
	if s.Comment != "" {
		fmt.Fprintf(b, "    comment %q\n", s.Comment)
	}
	b.WriteString("  }\n")
}

// SetContents are the elements of the user's sets at their last reading. Several
// kernels may share them. They are put back into a set that another program has
// deleted. The zero value is ready for use.
type SetContents struct {
	mu   sync.Mutex
	held map[string]content
}

// content are elements, and when they were read.
type content struct {
	elements []setElement
	at       time.Time
}

// setElement is an element of a set, or the end of an interval.
type setElement struct {
	key string
	end bool
	// timed: it goes by itself, after left.
	timed bool
	left  time.Duration
}

// known returns the elements of a set that have not gone by themselves since they were
// read.
func (c *SetContents) known(name string, now time.Time) []nftables.SetElement {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[name].left(now)
}

func (c content) left(now time.Time) []nftables.SetElement {
	var out []nftables.SetElement
	gone := false // the start of this interval
	for _, e := range c.elements {
		left := e.left - now.Sub(c.at)
		if !e.end {
			gone = e.timed && left < time.Second
		}
		if gone {
			continue
		}
		element := nftables.SetElement{Key: []byte(e.key), IntervalEnd: e.end}
		if e.timed && !e.end {
			element.Timeout = left
		}
		out = append(out, element)
	}
	return out
}

// ReadSets reads the user's sets, remembers their elements, and returns how many each
// has, by family; -1 where there is no such set now.
func (k *Kernel) ReadSets(sets []Set) (map[string][2]int, error) {
	out := map[string][2]int{}
	for _, s := range (Goal{Sets: sets}).userSets() {
		n := out[s.Name]
		read, err := (reader{k}).readSet(s.name)
		switch {
		case errors.Is(err, unix.ENOENT):
			n[s.family] = -1
		case err != nil:
			return nil, fmt.Errorf("firewall: read set %s: %w", s.name, err)
		default:
			n[s.family] = 0
			for _, e := range read {
				if !e.end {
					n[s.family]++
				}
			}
			k.Contents.remember(s.name, content{read, time.Now()})
		}
		out[s.Name] = n
	}
	return out, nil
}

func (c *SetContents) remember(name string, read content) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[string]content{}
	}
	c.held[name] = read
}

// SetHas reports whether a user's set holds an address now, in the network namespace of
// the calling thread. One that does not exist holds none.
func SetHas(name string, a netip.Addr) (bool, error) {
	var k Kernel
	defer k.Close()
	name = setName(name, failover.FamilyOf(a))
	elements, err := (reader{&k}).readSet(name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("firewall: read set %s: %w", name, err)
	}
	in, key := false, string(a.AsSlice())
	for _, e := range elements {
		if e.key > key {
			break
		}
		in = !e.end
	}
	return in, nil
}

// readSet reads the elements of a set, in the order of their keys.
func (r reader) readSet(name string) (out []setElement, err error) {
	which := append(ofTable(), attribute{unix.NFTA_SET_ELEM_LIST_SET, name})
	err = r.dump(unix.NFT_MSG_GETSETELEM, which, func(ad *netlink.AttributeDecoder) {
		if ad.Type() != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return
		}
		ad.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				var e setElement
				list.Nested(e.decode)
				if e.key != "" {
					out = append(out, e)
				}
			}
			return list.Err()
		})
	}, nil)
	// An end comes before what begins at the same place.
	slices.SortStableFunc(out, func(a, b setElement) int {
		return cmp.Or(strings.Compare(a.key, b.key), boolInt(b.end)-boolInt(a.end))
	})
	return out, err
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *setElement) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			ad.Nested(func(k *netlink.AttributeDecoder) error {
				for k.Next() {
					if k.Type() == unix.NFTA_DATA_VALUE {
						e.key = string(k.Bytes())
					}
				}
				return k.Err()
			})
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = ad.Uint32()&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.timed, e.left = true, time.Duration(ad.Uint64())*time.Millisecond
		}
	}
	return ad.Err()
}

// addSets adds the user's sets, and their elements where another program has deleted
// them or they have to be made anew.
func (tx *transaction) addSets(k *Kernel, held heldTable, t Table) {
	for _, s := range t.goal.userSets() {
		set := s.set(tx.table)
		set.ID = tx.setID()
		tx.try(tx.AddSet(set, nil))
		var elements []nftables.SetElement
		if before, ok := held.sets[s.name]; !ok || before.attributes != s.attributes() {
			elements = k.Contents.known(s.name, time.Now())
		}
		for len(elements) > 0 {
			n := min(len(elements), elementsAtOnce)
			tx.try(tx.SetAddElements(set, elements[:n]))
			elements = elements[n:]
		}
	}
}
