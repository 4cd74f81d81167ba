package firewall

import (
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// rulesOf has the library decode the expressions of a rule as the kernel sends them.
func rulesOf(exprs []byte) ([]*nftables.Rule, error) {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte("theirs\x00")},
		{Type: unix.NFTA_RULE_CHAIN, Data: []byte("chain\x00")},
		{Type: unix.NFTA_RULE_EXPRESSIONS | unix.NLA_F_NESTED, Data: exprs},
	})
	if err != nil {
		return nil, err
	}
	conn, err := nftables.New(nftables.WithTestDial(func(asked []netlink.Message) ([]netlink.Message, error) {
		header := netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE)}
		if len(asked) > 0 {
			header.Sequence = asked[0].Header.Sequence
		}
		return []netlink.Message{{Header: header, Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attrs...)}}, nil
	}))
	if err != nil {
		return nil, err
	}
	table := &nftables.Table{Name: "theirs", Family: nftables.TableFamilyINet}
	return decoded(func() ([]*nftables.Rule, error) {
		return conn.GetRules(table, &nftables.Chain{Name: "chain", Table: table})
	})
}

// expressions encodes expressions as in a rule's message.
func expressions(f *testing.F, all ...expr.Any) []byte {
	var list []netlink.Attribute
	for _, e := range all {
		b, err := expr.Marshal(unix.NFPROTO_INET, e)
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: b})
	}
	b, err := netlink.MarshalAttributes(list)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// Rules of other programs, whatever is in them, make nobody panic who follows them.
func FuzzForeignRules(f *testing.F) {
	mark := &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}
	set := &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}
	f.Add(expressions(f, mark, bitwise(0xff, 0x100), set))
	f.Add(expressions(f, &expr.Immediate{Register: 1, Data: []byte{1, 0, 0, 0}}, &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}))
	f.Add(expressions(f, mark, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1, 2}}, &expr.Lookup{SourceRegister: 1, SetName: "s", DestRegister: 1, IsDestRegSet: true}, set))
	f.Add(expressions(f, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{10, 0, 0}}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		marking(b)
		idOf(b)
		rules, err := rulesOf(b)
		if err != nil {
			return
		}
		for _, r := range rules {
			for _, late := range []bool{false, true} {
				clashesIn(r.Exprs, lane.DefaultLayout, late)
				matchesIn(r.Exprs, lane.DefaultLayout, late)
			}
			elements := func(string) (uint32, uint32) { return 0xff, 0xff00 }
			usesIn(r.Exprs, elements)
			proxyOf(r.Exprs, func(string) [][]byte { return [][]byte{b[:min(len(b), 4)]} }, func(string) int { return 1 })
		}
	})
}

// Entries of user data may be as long as a byte can say.
func TestLongUserData(t *testing.T) {
	for length := range 256 {
		data := append([]byte{1, byte(length)}, make([]byte, length)...)
		if got := idOf(append(data, append([]byte{byte(userDataID), 8}, idBytes(77)...)...)); got != 77 {
			t.Errorf("after an entry of %d bytes the id is %d, want 77", length, got)
		}
	}
}

// A table with our name is read as we left it, whatever others have put into it.
func FuzzOurTable(f *testing.F) {
	f.Add("native_1_24", []byte{10, 1, 2, 0}, []byte{8, 0, 1, 0, 0, 0, 0, 5})
	f.Add("native6_2_64", make([]byte, 16), []byte{})
	f.Add("plain_1_24_16", []byte{10, 1, 2, 0, 192, 168, 0, 0}, []byte{12, 0, 1, 0x80, 8, 0, 1, 0, 1, 2, 3, 4})
	f.Add("plain6_1_64_200", make([]byte, 32), []byte{20, 0, 2, 0x80, 16, 0, 2, 0x80, 8, 0, 2, 0, 'x', 0, 0, 0})
	f.Add(deadMap(0), []byte{0xc0, 1, 0, 0}, []byte{})
	f.Fuzz(func(t *testing.T, name string, key, attributes []byte) {
		each := func(decode func(*netlink.AttributeDecoder) error) {
			_ = eachAttribute(append(make([]byte, 4), attributes...), func(ad *netlink.AttributeDecoder) { ad.Nested(decode) })
			if ad, err := netlink.NewAttributeDecoder(attributes); err == nil {
				_ = decode(ad)
			}
		}
		elements, chain := map[string]string{string(key): "x"}, ""
		each((&heldChain{}).decodeHook)
		each((&heldObject{kind: unix.NFT_OBJECT_COUNTER}).decodeCounter)
		each(func(ad *netlink.AttributeDecoder) error { return decodeElement(ad, elements) })
		each(func(ad *netlink.AttributeDecoder) error { return decodeVerdict(ad, &chain) })
		held := heldTable{exists: true, sets: map[string]heldSet{name: {flags: unix.NFT_SET_MAP, elements: elements}}}
		native, plain := held.found()
		for n, all := range native {
			for _, p := range all {
				if !p.IsValid() {
					t.Errorf("lane %d has the native network %v", n, p)
				}
			}
		}
		for n, all := range plain {
			for _, e := range all {
				if !e.IsValid() {
					t.Errorf("lane %d has the plain flows %v", n, e)
				}
			}
		}
		held.lost(lane.DefaultLayout, name)
		held.differences(Ruleset(Goal{Layout: lane.DefaultLayout}))
		new(Counters).set(name, Count{})
	})
}
