package firewall

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

var (
	accept     = verdict("accept", expr.VerdictAccept)
	drop       = verdict("drop", expr.VerdictDrop)
	returns    = verdict("return", expr.VerdictReturn)
	masquerade = piece{text: "masquerade", exprs: []expr.Any{&expr.Masq{}}}
	notrack    = piece{text: "notrack", exprs: []expr.Any{&expr.Notrack{}}}
	// resetTCP answers the packet's sender with a TCP reset; it requires a match of
	// TCP before it.
	resetTCP = piece{text: "reject with tcp reset", exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
)

func verdict(text string, kind expr.VerdictKind) piece {
	return piece{text: text, exprs: []expr.Any{&expr.Verdict{Kind: kind}}}
}

func jump(chain string) piece {
	return piece{text: "jump " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}}
}

func goTo(chain string) piece {
	return piece{text: "goto " + chain, exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
}

// count adds the packet to a named counter.
func count(name string) piece {
	return piece{text: "counter name " + name, exprs: []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: name}}}
}

// setPacketMark and setCTMark replace the bits of a mask and keep all others. They
// use a single source register, since many kernels refuse two.
func setPacketMark(mask, value uint32) piece {
	return piece{text: setText("meta mark", mask, value), exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		bitwise(^mask, value),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}}
}

func setCTMark(mask, value uint32) piece {
	return piece{text: setText("ct mark", mask, value), exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		bitwise(^mask, value),
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	}}
}

// translateTo replaces the packet's source.
func translateTo(source netip.Addr) piece {
	family, word := uint32(unix.NFPROTO_IPV4), "ip"
	if source.Is6() {
		family, word = unix.NFPROTO_IPV6, "ip6"
	}
	return piece{text: fmt.Sprintf("snat %s to %s", word, source), exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: source.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: 1},
	}}
}

func setText(key string, mask, value uint32) string {
	switch value {
	case 0:
		return fmt.Sprintf("%[1]s set %[1]s & 0x%08[2]x", key, ^mask)
	case mask:
		return fmt.Sprintf("%[1]s set %[1]s | 0x%08[2]x", key, value)
	}
	return fmt.Sprintf("%[1]s set %[1]s & 0x%08[2]x | 0x%08[3]x", key, ^mask, value)
}
