package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"swerve/failover"
)

// address is a source or destination address of one family in a packet.
type address struct {
	text     string
	family   failover.Family
	offset   uint32
	length   uint32
	datatype nftables.SetDatatype
}

// Offsets according to RFC 791 and RFC 8200.
var (
	ipSaddr  = address{"ip saddr", failover.IPv4, 12, 4, nftables.TypeIPAddr}
	ipDaddr  = address{"ip daddr", failover.IPv4, 16, 4, nftables.TypeIPAddr}
	ip6Saddr = address{"ip6 saddr", failover.IPv6, 8, 16, nftables.TypeIP6Addr}
	ip6Daddr = address{"ip6 daddr", failover.IPv6, 24, 16, nftables.TypeIP6Addr}
)

// in matches addresses inside any of the prefixes, of which there must be at least
// one; notIn those outside all of them.
func (a address) in(prefixes []netip.Prefix) piece    { return a.match(prefixes, false) }
func (a address) notIn(prefixes []netip.Prefix) piece { return a.match(prefixes, true) }

func (a address) match(prefixes []netip.Prefix, invert bool) piece {
	p := piece{exprs: append(nfproto(a.family).exprs, &expr.Payload{
		DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length,
	})}
	not := ""
	if invert {
		not = "!= "
	}
	if len(prefixes) > 1 {
		p.text = a.text + " " + not + "{ " + joinPrefixes(prefixes) + " }"
		p.set = &anonymousSet{keyType: a.datatype, invert: invert, elements: intervals(prefixes)}
		return p
	}
	p.text = a.text + " " + not + prefixText(prefixes[0])
	p.exprs = append(p.exprs, comparePrefix(prefixes[0], invert)...)
	return p
}

func comparePrefix(p netip.Prefix, invert bool) []expr.Any {
	addr := p.Masked().Addr().AsSlice()
	op := expr.CmpOpEq
	if invert {
		op = expr.CmpOpNeq
	}
	compare := &expr.Cmp{Op: op, Register: 1, Data: addr}
	if p.IsSingleIP() {
		return []expr.Any{compare}
	}
	mask := &expr.Bitwise{
		SourceRegister: 1, DestRegister: 1, Len: uint32(len(addr)),
		Mask: prefixMask(p), Xor: make([]byte, len(addr)),
	}
	return []expr.Any{mask, compare}
}

func prefixMask(p netip.Prefix) []byte {
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

// prefixText formats a prefix, a single address without its length, as nft(8) does.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

func joinPrefixes(prefixes []netip.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = prefixText(p)
	}
	return strings.Join(texts, ", ")
}

// intervals converts distinct prefixes, sorted by address, to the half-open intervals
// that the kernel requires: a start, and the first address after the end.
func intervals(prefixes []netip.Prefix) []nftables.SetElement {
	first := prefixes[0].Addr()
	zero := make([]byte, first.BitLen()/8)
	var out []nftables.SetElement
	if !first.IsUnspecified() {
		// What is below the first start is outside, as nft(8) encodes it too.
		out = append(out, nftables.SetElement{Key: zero, IntervalEnd: true})
	}
	for i, p := range prefixes {
		if i == 0 || lastAddr(prefixes[i-1]).Next() != p.Addr() { // adjacent prefixes form one interval
			out = append(out, nftables.SetElement{Key: p.Addr().AsSlice()})
		}
		end := lastAddr(p).Next()
		touched := i+1 < len(prefixes) && prefixes[i+1].Addr() == end
		if end.IsValid() && !touched {
			out = append(out, nftables.SetElement{Key: end.AsSlice(), IntervalEnd: true})
		}
	}
	return out
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i, m := range prefixMask(p) {
		b[i] |= ^m
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// distinct returns the prefixes sorted, without those inside another one: the kernel
// refuses intervals that overlap.
func distinct(in []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		if p.IsValid() {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	kept := out[:0]
	for _, p := range out {
		if len(kept) == 0 || !covers(kept[len(kept)-1], p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// covers reports whether all of q is in p.
func covers(p, q netip.Prefix) bool { return p.Bits() <= q.Bits() && p.Contains(q.Addr()) }

// ofFamily returns the prefixes of a family.
func ofFamily(in []netip.Prefix, f failover.Family) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(in), func(p netip.Prefix) bool { return p.Addr().Is4() != (f == failover.IPv4) })
}
