package firewall

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Packet is the first packet of a flow, as the chains before routing see it.
type Packet struct {
	Family   failover.Family
	From, To netip.Addr
	// In is the interface by which it comes in; empty for one of this machine's own.
	In       string
	Proto    uint8
	FromPort uint16
	ToPort   uint16
	DSCP     uint8
	// Mark is the packet mark that other programs gave it.
	Mark uint32
	// Rescued reports whether a policy rescues the destination, or tries to; nil where none
	// does.
	Rescued func(policy lane.Lane) bool
	// InSet reports whether an address is in a set of the user's; nil where all are
	// empty.
	InSet func(name string, a netip.Addr) bool
}

// Class is what the table makes of a flow.
type Class struct {
	// Policy is the flow's policy; [lane.Nobody] where it came in by an uplink, which
	// answers it whatever happens.
	Policy lane.Lane
	// Rule is the number of the rule that decided, from 0; -1: none did.
	Rule int
	// Member is the uplink that was picked for it; 0: the policy's ladder decides. An
	// uplink that the flow came in by is one too.
	Member lane.Lane
	// Refused: its policy blocks, and has no uplink now.
	Refused bool
}

// Classify returns what becomes of a flow that begins with a packet. It interprets the
// expressions that are sent to the kernel, from the hook at which the packet arrives on.
func (t Table) Classify(p Packet) Class {
	m := t.enter(p)
	return m.class()
}

// enter executes the chains that a packet meets before it is routed.
func (t Table) enter(p Packet) machine {
	m := machine{table: t, packet: p, mark: p.Mark, rule: -1}
	m.header, m.transport = headers(p)
	first := "prerouting"
	if p.In == "" {
		first = "output"
	}
	m.run(first)
	return m
}

// class is what the table has made of the packet's flow.
func (m *machine) class() Class {
	l := m.table.goal.Layout
	uplink, policy := l.CTLanes(m.ct &^ l.CTRetried())
	out := Class{Policy: policy, Rule: m.rule, Member: uplink, Refused: m.refused}
	if policy == 0 {
		out.Policy = lane.DefaultPolicy
	}
	if n := lane.Lane(m.mark & l.MarkMask >> bits.TrailingZeros32(l.MarkMask)); uplink == 0 && n.IsUplink() {
		out.Member = n
	}
	return out
}

// machine executes rules as nf_tables does, on the first packet of a flow that is not
// tracked yet.
type machine struct {
	table             Table
	packet            Packet
	header, transport []byte
	mark, ct          uint32
	// registers as in nf_tables: the verdict first, which is not used, then four of 16
	// bytes or sixteen of 4 at the same place.
	registers [80]byte
	rule      int
	refused   bool
	// out is the device by which the packet leaves; empty while it is not routed.
	// masquerade and source are what source NAT makes of it.
	out        string
	masquerade bool
	source     netip.Addr
}

// headers returns the parts of a packet's headers that rules load: RFC 791, RFC 8200,
// and the ports.
func headers(p Packet) (network, transport []byte) {
	if p.Family == failover.IPv4 {
		network = make([]byte, 20)
		network[0], network[1], network[9] = 0x45, p.DSCP<<2, p.Proto
		copy(network[12:], p.From.AsSlice())
		copy(network[16:], p.To.AsSlice())
	} else {
		network = make([]byte, 40)
		binary.BigEndian.PutUint16(network, 6<<12|uint16(p.DSCP)<<6)
		network[6] = p.Proto
		copy(network[8:], p.From.AsSlice())
		copy(network[24:], p.To.AsSlice())
	}
	transport = make([]byte, 20)
	binary.BigEndian.PutUint16(transport, p.FromPort)
	binary.BigEndian.PutUint16(transport[2:], p.ToPort)
	if p.Proto == unix.IPPROTO_TCP {
		transport[13] = flagSYN
	}
	return network, transport
}

// ended is how the rules of a chain ended.
type ended uint8

const (
	goesOn    ended = iota // with the next rule
	endsChain              // of this chain
	decided                // no rule follows
)

// run executes a chain and those that it leads to.
func (m *machine) run(name string) ended {
	i := slices.IndexFunc(m.table.chains, func(c chain) bool { return c.name == name })
	if i < 0 {
		return endsChain
	}
	for _, r := range m.table.chains[i].rules {
		if how := m.apply(r); how != goesOn {
			return how
		}
	}
	return endsChain
}

// apply executes one rule.
func (m *machine) apply(r rule) ended {
	for _, p := range r.pieces {
		for _, e := range p.exprs {
			matches, how := m.execute(e, r.number)
			if how != goesOn {
				return how
			}
			if !matches {
				return goesOn
			}
		}
		if p.set != nil && p.set.has(m.load(1, len(p.set.elements[0].Key))) == p.set.invert {
			return goesOn
		}
	}
	return goesOn
}

// execute executes one expression; number is that of its rule.
func (m *machine) execute(e expr.Any, number int) (matches bool, how ended) {
	switch e := e.(type) {
	case *expr.Meta:
		return m.meta(e), goesOn
	case *expr.Ct:
		return m.conntrack(e), goesOn
	case *expr.Payload:
		from := m.header
		if e.Base == expr.PayloadBaseTransportHeader {
			from = m.transport
		}
		m.store(e.DestRegister, from[e.Offset:e.Offset+e.Len])
	case *expr.Immediate:
		m.store(e.Register, e.Data)
	case *expr.Bitwise:
		value := slices.Clone(m.load(e.SourceRegister, int(e.Len)))
		for i := range value {
			value[i] = value[i]&e.Mask[i] ^ e.Xor[i]
		}
		m.store(e.DestRegister, value)
	case *expr.Byteorder:
		m.store(e.DestRegister, binary.BigEndian.AppendUint32(nil, binary.NativeEndian.Uint32(m.load(e.SourceRegister, 4))))
	case *expr.Cmp:
		return bytes.Equal(m.load(e.Register, len(e.Data)), e.Data) == (e.Op == expr.CmpOpEq), goesOn
	case *expr.Range:
		v := m.load(e.Register, len(e.FromData))
		return bytes.Compare(v, e.FromData) >= 0 && bytes.Compare(v, e.ToData) <= 0, goesOn
	case *expr.Hash:
		h := jhash(m.load(e.SourceRegister, int(e.Length)), e.Seed)
		m.store(e.DestRegister, native32(uint32(uint64(h)*uint64(e.Modulus)>>32)+e.Offset))
	case *expr.Fib:
		return m.fib(e), goesOn
	case *expr.Lookup:
		return m.lookup(e)
	case *expr.Verdict:
		return true, m.verdict(e, number)
	case *expr.Rt: // no IPsec transformation
		m.store(e.Register, native32(0))
	case *expr.Masq:
		m.masquerade = true
		return true, decided
	case *expr.NAT:
		m.source, _ = netip.AddrFromSlice(m.load(e.RegAddrMin, [2]int{4, 16}[m.packet.Family]))
		if e.Prefix {
			m.source = netmapped(m.packet.From, m.source, m.load(e.RegAddrMax, 16))
		}
		return true, decided
	case *expr.Reject:
		m.refused = true
		return true, decided
	}
	return true, goesOn // counters and the like
}

// offset is a register's place.
func offset(register uint32) int {
	if register >= unix.NFT_REG32_00 {
		return int(register-unix.NFT_REG32_00+4) * 4
	}
	return int(register) * 16
}

func (m *machine) load(register uint32, length int) []byte {
	return m.registers[offset(register):][:length]
}

// store fills the last word with zeros, as the kernel does.
func (m *machine) store(register uint32, value []byte) {
	at := m.registers[offset(register):]
	clear(at[:(len(value)+3)/4*4])
	copy(at, value)
}

func (m *machine) meta(e *expr.Meta) bool {
	if e.SourceRegister {
		m.mark = binary.NativeEndian.Uint32(m.load(e.Register, 4))
		return true
	}
	switch e.Key {
	case expr.MetaKeyNFPROTO:
		m.store(e.Register, []byte{[2]byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6}[m.packet.Family]})
	case expr.MetaKeyL4PROTO:
		m.store(e.Register, []byte{m.packet.Proto})
	case expr.MetaKeyMARK:
		m.store(e.Register, native32(m.mark))
	case expr.MetaKeyIIFNAME:
		m.store(e.Register, ifname(m.packet.In))
		return m.packet.In != ""
	case expr.MetaKeyIIF:
		m.store(e.Register, native32(uint32(boolInt(m.packet.In != ""))))
	case expr.MetaKeyOIFNAME:
		return m.uplink(e.Register)
	default: // decrypted and the like
		m.store(e.Register, native32(0))
	}
	return true
}

// uplink stores the device of an uplink: what is not for a network that main knows
// leaves by one of them.
func (m *machine) uplink(register uint32) bool {
	if m.out != "" {
		m.store(register, ifname(m.out))
		return true
	}
	for _, u := range m.table.goal.Uplinks {
		if u.Interface != "" {
			m.store(register, ifname(u.Interface))
			return true
		}
	}
	return false
}

// fib: addresses are none of this machine's, routes lead to an uplink.
func (m *machine) fib(e *expr.Fib) bool {
	if e.ResultOIFNAME {
		return m.uplink(e.Register)
	}
	m.store(e.Register, native32(unix.RTN_UNICAST))
	return true
}

func (m *machine) conntrack(e *expr.Ct) bool {
	if e.SourceRegister {
		m.ct = binary.NativeEndian.Uint32(m.load(e.Register, 4))
		return true
	}
	switch e.Key {
	case expr.CtKeyMARK:
		m.store(e.Register, native32(m.ct))
	case expr.CtKeySTATE:
		m.store(e.Register, native32(expr.CtStateBitNEW))
	default: // the original direction, nothing translated
		m.store(e.Register, native32(0))
	}
	return true
}

func (m *machine) lookup(e *expr.Lookup) (matches bool, how ended) {
	if i := slices.IndexFunc(m.table.maps, func(v verdictMap) bool { return v.name == e.SetName }); i >= 0 {
		found, ok := m.table.maps[i].find(func(length int) []byte { return m.load(e.SourceRegister, length) })
		if !ok {
			return false, goesOn
		}
		kind := expr.VerdictGoto
		if found.jump {
			kind = expr.VerdictJump
		}
		if found.chain == "" {
			kind = expr.VerdictReturn
		}
		return true, m.verdict(&expr.Verdict{Kind: kind, Chain: found.chain}, found.number)
	}
	if _, ok := m.table.rescueSet(e.SetName); ok {
		what, numbers := splitName(e.SetName)
		return m.packet.Rescued != nil && what == rescuedSet+familyDigit(m.packet.Family) && len(numbers) == 1 &&
			m.packet.Rescued(lane.Lane(numbers[0])), goesOn
	}
	name, named := strings.CutPrefix(e.SetName, setName("", failover.IPv4)[:len("set_")])
	if !named || m.packet.InSet == nil {
		return false, goesOn
	}
	a, _ := netip.AddrFromSlice(m.load(e.SourceRegister, [2]int{4, 16}[m.packet.Family]))
	return m.packet.InSet(name[:len(name)-1], a), goesOn
}

// verdict carries out a verdict of the user's rule with a number, or of another one.
func (m *machine) verdict(v *expr.Verdict, number int) ended {
	if number > 0 {
		m.rule = number - 1
	}
	switch v.Kind {
	case expr.VerdictJump:
		if m.run(v.Chain) == decided {
			return decided
		}
		return goesOn
	case expr.VerdictGoto:
		return m.run(v.Chain)
	case expr.VerdictReturn:
		return endsChain
	}
	return decided
}

// find returns the element for what is in a register; load returns so many bytes of it.
func (v verdictMap) find(load func(length int) []byte) (entry, bool) {
	if len(v.elements) == 0 {
		return entry{}, false
	}
	key := string(load(len(v.elements[0].key)))
	if !v.keys.interval {
		i := slices.IndexFunc(v.elements, func(e entry) bool { return e.key == key })
		if i < 0 {
			return entry{}, false
		}
		return v.elements[i], true
	}
	// Sorted starts and ends: the last one not above the key decides.
	var found entry
	for _, e := range v.elements {
		if e.key > key {
			break
		}
		if e.key < key || !e.end || found.key != key {
			found = e
		}
	}
	return found, !found.end && found.key != ""
}

// has reports whether a value is in the set.
func (s *anonymousSet) has(value []byte) bool {
	in := false
	for _, e := range s.elements {
		if bytes.Compare(e.Key, value) > 0 {
			break
		}
		in = !e.IntervalEnd
	}
	return in
}

// jhash is the kernel's hash of whole words, include/linux/jhash.h, after Bob Jenkins'
// lookup3 of 2006, in the public domain.
func jhash(key []byte, seed uint32) uint32 {
	start := 0xdeadbeef + uint32(len(key)) + seed
	a, b, c := start, start, start
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(key[i:]) }
	for len(key) > 12 {
		a, b, c = a+word(0), b+word(4), c+word(8)
		a -= c
		a ^= bits.RotateLeft32(c, 4)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 6)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 8)
		b += a
		a -= c
		a ^= bits.RotateLeft32(c, 16)
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, 19)
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, 4)
		b += a
		key = key[12:]
	}
	if len(key) == 0 {
		return c
	}
	var rest [12]byte
	copy(rest[:], key)
	a += binary.LittleEndian.Uint32(rest[:])
	b += binary.LittleEndian.Uint32(rest[4:])
	c += binary.LittleEndian.Uint32(rest[8:])
	for _, by := range []struct {
		from, to *uint32
		n        int
	}{{&b, &c, 14}, {&c, &a, 11}, {&a, &b, 25}, {&b, &c, 16}, {&c, &a, 4}, {&a, &b, 14}, {&b, &c, 24}} {
		*by.to ^= *by.from
		*by.to -= bits.RotateLeft32(*by.from, by.n)
	}
	return c
}
