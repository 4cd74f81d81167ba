package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// A UDP socket that is bound to no address answers from the source that the routes give
// the answer, which is of the uplink that carries, not of the one that was asked: the
// asker takes that for somebody else's, and the kernel for a new flow. So who asked such a
// socket at an uplink's address is recorded where the packet comes in, and the answer gets
// that address before connection tracking looks at it. It is a reply then, and goes the
// way of its flow.
//
// Only answers that were not asked for at the address that they come from are changed: a
// program that answers from the right one by itself is left alone, also where the same
// asker asks at several.
const (
	// callTime is how long an asker is known after its last packet: as long as the
	// kernel tracks a flow of UDP. What the gateway sends does not count: a peer that is
	// silent is free to be reached by another uplink then.
	callTime = 2 * time.Minute
	// mostCalls bounds the askers of an address. Further ones are answered as without us.
	mostCalls = 1 << 14
	// mostAsked bounds the addresses of an uplink in each family. At further ones it is
	// as without us: hosts with new addresses of IPv6 each day keep seven.
	mostAsked = 8

	callsChain   = "calls"
	callChain    = "call"
	repliesChain = "replies"
	replyChain   = "reply"
)

// callSet is the set of those who asked at an address of an uplink, or at any of a family.
type callSet struct {
	name   string
	family failover.Family
	asked  netip.Addr // invalid: any
	uplink lane.Lane  // the first with that address
}

// callSetOf returns that of an address, by which it is named, so that it is never taken
// for another one's.
func callSetOf(asked netip.Addr, uplink lane.Lane) callSet {
	return callSet{"callers_" + strings.ReplaceAll(asked.String(), ":", "-"), failover.FamilyOf(asked), asked, uplink}
}

// callSetAny returns that of a family. It spares what the gateway sends to others a look at
// each address.
func callSetAny(f failover.Family) callSet { return callSet{name: "callers_" + f.String(), family: f} }

// callSets returns those of a goal.
func callSets(g Goal) []callSet {
	var out []callSet
	if !g.Wildcards {
		return nil
	}
	for _, f := range failover.Families {
		out = append(out, callSetAny(f))
	}
	for _, u := range g.Uplinks {
		var n [2]int
		for _, a := range sortedAddresses(u.Addresses) {
			f := failover.FamilyOf(a)
			s := callSetOf(a, u.Lane)
			if n[f] < mostAsked && !slices.ContainsFunc(out, func(o callSet) bool { return o.asked == a }) {
				n[f]++
				out = append(out, s)
			}
		}
	}
	return out
}

func (t Table) isCallSet(name string) bool {
	return slices.ContainsFunc(t.calls, func(s callSet) bool { return s.name == name })
}

// ends are the packet's addresses: of the asker, and the one that is asked, in a packet of
// the asker and in the answer.
func (s callSet) ends() (source, destination address) {
	return [2]address{ipSaddr, ip6Saddr}[s.family], [2]address{ipDaddr, ip6Daddr}[s.family]
}

func (s callSet) write(b *strings.Builder) {
	fmt.Fprintf(b, "  set %s {\n    type %s . inet_service . inet_service\n    size %d\n    flags dynamic, timeout\n    timeout %s\n  }\n",
		s.name, [2]string{"ipv4_addr", "ipv6_addr"}[s.family], mostCalls, nftDuration(callTime))
}

func (tx *transaction) addCallSet(s callSet) {
	source, _ := s.ends()
	keys, err := nftables.ConcatSetType(source.datatype, nftables.TypeInetService, nftables.TypeInetService)
	tx.try(err)
	tx.try(tx.AddSet(&nftables.Set{
		Table: tx.table, ID: tx.setID(), Name: s.name, KeyType: keys, KeyByteOrder: binaryutil.BigEndian, Concatenation: true,
		Dynamic: true, HasTimeout: true, Timeout: callTime, Size: mostCalls,
	}, nil))
}

// wildcardChains returns the chains that record who asks, and that answer. Neither is in
// the forwarding path.
func wildcardChains(b builder, sets []callSet) []chain {
	if len(sets) == 0 {
		return nil
	}
	call := chain{name: callChain, about: "Asks a socket that is bound to no address, by an uplink."}
	reply := chain{name: replyChain, about: "From a socket that is bound to no address."}
	asIs := chain{name: asIsChain, about: "Of an uplink that is lost: as the routes have it.", rules: []rule{newRule(setPacketMark(b.Layout.MarkMask, 0))}}
	out := []chain{asIs}
	var known, corrected [2][]rule
	for _, s := range sets {
		if !s.asked.IsValid() {
			reply.rules = append(reply.rules, newRule(s.answers(), goTo(replyChain+"_"+s.family.String())))
			continue
		}
		source, destination := s.ends()
		call.rules = append(call.rules, newRule(destination.is(s.asked), s.records(), callSetAny(s.family).records(), returns))
		known[s.family] = append(known[s.family], newRule(source.is(s.asked), s.answers(), returns))
		corrected[s.family] = append(corrected[s.family], newRule(s.answers(), goTo(s.corrects())))
		out = append(out, b.corrected(s))
	}
	for _, f := range failover.Families {
		out = append(out, chain{name: replyChain + "_" + f.String(), rules: append(known[f], corrected[f]...)})
	}
	out[len(out)-2].about = "To one who asked: as it is, if it comes from where it was asked, or else from there."
	return append(out,
		call,
		chain{
			name:  callsChain,
			about: "Where packets for the gateway's own sockets come in.",
			base:  hooked(nftables.ChainTypeFilter, nftables.ChainHookInput, "input", "-199", tracked),
			rules: []rule{newRule(udp, ctMark(b.Layout.CTPolicyMask()).is(b.Layout.CTPair(0, lane.Nobody)), boundToNone, goTo(callChain))},
		},
		reply,
		chain{
			name:  repliesChain,
			about: "Before connection tracking. A socket's own mark stays what it is, and so does its source.",
			base:  hooked(nftables.ChainTypeRoute, nftables.ChainHookOutput, "output", "raw", -300),
			rules: []rule{newRule(udp, packetMark(1<<32-1).is(0), ofASocket, boundToNone, goTo(replyChain))},
		})
}

// corrects is the name of the chain that replaces the source.
func (s callSet) corrects() string { return strings.Replace(s.name, "callers", "answers", 1) }

// corrected is that chain. A peer of which nothing is known but that it asked once may be
// anywhere by now, and can be reached by another uplink, with the source that the routes
// have for that: where its own is lost it has to be.
func (b builder) corrected(s callSet) chain {
	source, _ := s.ends()
	lane := packetMark(b.Layout.MarkMask)
	return chain{name: s.corrects(), rules: []rule{
		newRule(setPacketMark(b.Layout.MarkMask, b.Layout.Mark(s.uplink))),
		newRule(lane.vmap(unaskedMap(s.family))),
		newRule(isFallen(b), goTo(asIsChain)),
		newRule(setPacketMark(b.Layout.MarkMask, 0)),
		newRule(source.becomes(s.asked)),
	}}
}

const asIsChain = "as_it_is"

func unaskedMap(f failover.Family) string { return "unasked_" + f.String() }

// unasked has the uplinks that the default policy's sessions have left, by family, but for
// those that are drained and not down; none where nothing answers by them.
func unasked(b builder) []verdictMap {
	if len(callSets(b.Goal)) == 0 {
		return nil
	}
	var out []verdictMap
	for _, f := range failover.Families {
		m := verdictMap{name: unaskedMap(f), keys: markKeys}
		for _, p := range b.Lost[f] {
			if p.Policy == lane.DefaultPolicy && !slices.Contains(b.Drained[f], p.Uplink) {
				m.elements = append(m.elements, markEntry(b.Layout.Mark(p.Uplink), asIsChain))
			}
		}
		out = append(out, m)
	}
	out[0].about = "Lanes of lost uplinks, from whose addresses nobody is answered."
	return out
}

var (
	// boundToNone matches packets of and for sockets that are bound to no address.
	boundToNone = socketWildcard(1)
	// boundToOne matches packets of and for sockets that have one address.
	boundToOne = socketWildcard(0)
	// ofASocket matches packets that have a socket, as those of tunnels in the kernel have
	// not: in the output hook, kernels before 5.18 must not be asked about theirs.
	ofASocket = piece{text: "meta skuid >= 0", exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: make([]byte, 4)},
	}}
)

// socketWildcard matches packets of and for sockets that are bound to no address, or to one.
// Packets without a socket match neither.
func socketWildcard(value byte) piece {
	return piece{text: fmt.Sprint("socket wildcard ", value), exprs: []expr.Any{
		&expr.Socket{Key: expr.SocketKeyWildcard, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{value}},
	}}
}

// is matches an address.
func (a address) is(value netip.Addr) piece {
	return piece{text: fmt.Sprintf("%s %s", a.text, value), exprs: append(nfproto(a.family).exprs,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value.AsSlice()})}
}

// becomes replaces an address.
func (a address) becomes(value netip.Addr) piece {
	// IPv6 has no checksum of its own, and the library passes on that UDP's is to be
	// corrected only beside the place of one: there it is in the address, which is written
	// last.
	checksum := [2]uint32{10, a.offset}[a.family]
	return piece{text: fmt.Sprintf("%s set %s", a.text, value), exprs: append(nfproto(a.family).exprs,
		&expr.Immediate{Register: 1, Data: value.AsSlice()},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length,
			CsumType: expr.CsumTypeInet, CsumOffset: checksum, CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
		},
	)}
}

// caller loads an address and both ports, by their offsets in UDP's header (RFC 768).
func caller(a address, ports ...uint32) []expr.Any {
	out := append(nfproto(a.family).exprs, &expr.Payload{
		DestRegister: unix.NFT_REG32_00, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length,
	})
	for i, offset := range ports {
		register := unix.NFT_REG32_00 + a.length/4 + uint32(i)
		out = append(out, &expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2})
	}
	return out
}

// records records the packet's sender.
func (s callSet) records() piece {
	source, _ := s.ends()
	return piece{
		text: fmt.Sprintf("update @%s { %s . th sport . th dport }", s.name, source.text),
		exprs: append(caller(source, 0, 2), &expr.Dynset{
			SrcRegKey: unix.NFT_REG32_00, SetName: s.name, Operation: unix.NFT_DYNSET_OP_UPDATE,
		}),
	}
}

// answers matches packets to one who has asked.
func (s callSet) answers() piece {
	_, destination := s.ends()
	return piece{
		text: fmt.Sprintf("%s . th dport . th sport @%s", destination.text, s.name),
		exprs: append(caller(destination, 2, 0), &expr.Lookup{
			SourceRegister: unix.NFT_REG32_00, SetName: s.name,
		}),
	}
}

// trialTable is the name of a table that never comes to be.
const trialTable = tableName + "_trial"

// TellsWildcards reports whether the kernel tells which sockets are bound to no address,
// as it needs the module nft_socket and Linux 5.10 for. It has it check a transaction that
// it then has to refuse as a whole, and changes nothing.
func (k *Kernel) TellsWildcards() bool {
	if k.wildcards == nil {
		b := builder{Goal{Layout: lane.DefaultLayout, Wildcards: true, Uplinks: []Uplink{{Addresses: []netip.Addr{netip.IPv6Loopback()}}}}}
		sets := callSets(b.Goal)
		err := k.transact(func(tx *transaction) {
			tx.table = &nftables.Table{Name: trialTable, Family: nftables.TableFamilyINet}
			tx.CreateTable(tx.table)
			tx.add(Table{calls: sets, maps: unasked(b), chains: wildcardChains(b, sets)})
			tx.CreateTable(tx.table) // exists by now
		})
		refused := slices.ContainsFunc([]error{unix.ENOENT, unix.EOPNOTSUPP, unix.EINVAL}, func(e error) bool { return errors.Is(err, e) })
		if !refused && !errors.Is(err, unix.EEXIST) {
			return false // not allowed, or out of memory: to be asked again
		}
		tells := !refused
		k.wildcards = &tells
	}
	return *k.wildcards
}
