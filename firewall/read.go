package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// heldTable is our table as the kernel holds it, at one generation of the whole
// ruleset.
type heldTable struct {
	generation uint32
	exists     bool
	dormant    bool
	chains     map[string]*heldChain
	// sets by name, without anonymous ones, which belong to their rules. Elements are
	// read only of verdict maps.
	sets    map[string]heldSet
	objects []heldObject
}

type heldChain struct {
	kind     string // empty for a chain without a hook
	hook     uint32
	priority int32
	policy   uint32
	rules    []uint64 // ids in order; 0 for a rule that is not ours
}

type heldSet struct {
	flags      uint32
	attributes setAttributes
	elements   map[string]string // key -> chain
}

type heldObject struct {
	name           string
	kind           uint32
	packets, bytes uint64
}

func (h heldTable) setNames() []string   { return slices.Sorted(maps.Keys(h.sets)) }
func (h heldTable) chainNames() []string { return slices.Sorted(maps.Keys(h.chains)) }

// errChanging: the ruleset changed under each attempt to read it.
var errChanging = errors.New("the ruleset keeps changing while it is read")

// read returns our table as the kernel holds it. That takes several dumps; if the
// generation changes between them, they are repeated.
func (k *Kernel) read() (heldTable, error) {
	r := reader{k}
	const attempts = 10
	for range attempts {
		before, err := r.generation()
		if err != nil {
			return heldTable{}, err
		}
		h, err := r.table()
		if err != nil {
			return heldTable{}, err
		}
		h.generation, err = r.generation()
		if err != nil {
			return heldTable{}, err
		}
		if h.generation == before {
			return h, nil
		}
	}
	return heldTable{}, errChanging
}

// reader requests parts of the ruleset from the kernel.
type reader struct{ kernel *Kernel }

// generation returns the number of the ruleset's present version, of all tables
// together. Every transaction of any program increases it by one.
func (r reader) generation() (uint32, error) {
	var gen uint32
	err := r.request(unix.NFT_MSG_GETGEN, 0, nil, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.NFTA_GEN_ID {
			gen = ad.Uint32()
		}
	}, nil)
	if err != nil {
		return 0, fmt.Errorf("read the generation: %w", err)
	}
	return gen, nil
}

func (r reader) table() (heldTable, error) {
	h := heldTable{chains: map[string]*heldChain{}, sets: map[string]heldSet{}}
	for _, part := range []func(*heldTable) error{r.readTable, r.readChains, r.readRules, r.readSets, r.readElements, r.readObjects} {
		if err := part(&h); err != nil {
			return heldTable{}, err
		}
		if !h.exists {
			break
		}
	}
	return h, nil
}

func (r reader) readTable(h *heldTable) error {
	err := r.request(unix.NFT_MSG_GETTABLE, 0, ofTable(), func(ad *netlink.AttributeDecoder) {
		h.exists = true
		if ad.Type() == unix.NFTA_TABLE_FLAGS {
			h.dormant = ad.Uint32()&unix.NFT_TABLE_F_DORMANT != 0
		}
	}, nil)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("read the table: %w", err)
	}
	return nil
}

func (r reader) readChains(h *heldTable) error {
	var table, name string
	var c heldChain
	err := r.dump(unix.NFT_MSG_GETCHAIN, ofTable(), func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			table = ad.String()
		case unix.NFTA_CHAIN_NAME:
			name = ad.String()
		case unix.NFTA_CHAIN_TYPE:
			c.kind = ad.String()
		case unix.NFTA_CHAIN_POLICY:
			c.policy = ad.Uint32()
		case unix.NFTA_CHAIN_HOOK:
			ad.Nested(c.decodeHook)
		}
	}, func() {
		if table == tableName { // the kernel dumps the chains of all tables
			held := c
			h.chains[name] = &held
		}
		table, name, c = "", "", heldChain{}
	})
	if err != nil {
		return fmt.Errorf("read the chains: %w", err)
	}
	return nil
}

func (c *heldChain) decodeHook(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_HOOK_HOOKNUM:
			c.hook = ad.Uint32()
		case unix.NFTA_HOOK_PRIORITY:
			c.priority = int32(ad.Uint32())
		}
	}
	return ad.Err()
}

func (r reader) readRules(h *heldTable) error {
	var chain string
	var id uint64
	err := r.dump(unix.NFT_MSG_GETRULE, ofTable(), func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_RULE_CHAIN:
			chain = ad.String()
		case unix.NFTA_RULE_USERDATA:
			id = idOf(ad.Bytes())
		}
	}, func() {
		if c := h.chains[chain]; c != nil {
			c.rules = append(c.rules, id)
		}
		chain, id = "", 0
	})
	if err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	return nil
}

// idOf returns our id from a rule's user data, which are entries of type, length and
// content; 0 if there is none.
func idOf(data []byte) uint64 {
	for len(data) >= 2 && len(data) >= 2+int(data[1]) {
		content := data[2 : 2+int(data[1])]
		if userdata.Type(data[0]) == userDataID && len(content) == 8 {
			return binary.BigEndian.Uint64(content)
		}
		data = data[2+len(content):]
	}
	return 0
}

func idBytes(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }

func (r reader) readSets(h *heldTable) error {
	var name string
	set := heldSet{elements: map[string]string{}}
	err := r.dump(unix.NFT_MSG_GETSET, ofTable(), func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_SET_NAME:
			name = ad.String()
		case unix.NFTA_SET_FLAGS:
			set.flags = ad.Uint32()
		case unix.NFTA_SET_TIMEOUT:
			set.attributes.timeout = time.Duration(ad.Uint64()) * time.Millisecond
		case unix.NFTA_SET_DESC:
			ad.Nested(set.attributes.decode)
		}
	}, func() {
		if set.flags&unix.NFT_SET_ANONYMOUS == 0 {
			h.sets[name] = set
		}
		name, set = "", heldSet{elements: map[string]string{}}
	})
	if err != nil {
		return fmt.Errorf("read the sets: %w", err)
	}
	return nil
}

func (r reader) readObjects(h *heldTable) error {
	var o heldObject
	err := r.dump(unix.NFT_MSG_GETOBJ, ofTable(), func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.NFTA_OBJ_NAME:
			o.name = ad.String()
		case unix.NFTA_OBJ_TYPE:
			o.kind = ad.Uint32()
		case unix.NFTA_OBJ_DATA:
			ad.Nested(o.decodeCounter)
		}
	}, func() {
		h.objects = append(h.objects, o)
		o = heldObject{}
	})
	if err != nil {
		return fmt.Errorf("read the counters: %w", err)
	}
	return nil
}

// decodeCounter decodes an object's data if the object is a counter.
func (o *heldObject) decodeCounter(ad *netlink.AttributeDecoder) error {
	if o.kind != unix.NFT_OBJECT_COUNTER {
		return nil // the kernel sends the type before the data
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_COUNTER_BYTES:
			o.bytes = ad.Uint64()
		case unix.NFTA_COUNTER_PACKETS:
			o.packets = ad.Uint64()
		}
	}
	return ad.Err()
}
