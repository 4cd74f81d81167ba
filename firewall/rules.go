package firewall

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rulePlace names a rule.
type rulePlace struct {
	family       byte
	table, chain string
	handle       uint64
}

// rulesWith returns the rules of all tables whose expressions, as the kernel sends them, are
// wanted. It is one dump, however many chains there are.
func (k *Kernel) rulesWith(want func(exprs []byte) bool) (out []rulePlace, err error) {
	messages, err := k.execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE), Flags: netlink.Request | netlink.Dump},
		Data:   nfgenmsg(unix.AF_UNSPEC, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("firewall: read the rules of all: %w", err)
	}
	for _, m := range messages {
		var at rulePlace
		wanted := false
		err := eachAttribute(m.Data, func(ad *netlink.AttributeDecoder) {
			switch ad.Type() {
			case unix.NFTA_RULE_TABLE:
				at.table = ad.String()
			case unix.NFTA_RULE_CHAIN:
				at.chain = ad.String()
			case unix.NFTA_RULE_HANDLE:
				at.handle = ad.Uint64()
			case unix.NFTA_RULE_EXPRESSIONS:
				wanted = want(ad.Bytes())
			}
		})
		if err != nil {
			return nil, fmt.Errorf("firewall: read a rule: %w", err)
		}
		if wanted {
			at.family = m.Data[0]
			out = append(out, at)
		}
	}
	return out, nil
}

// decoded has the library read something that any program may have put into the kernel.
// It panics where a message is not as it expects, which ends nobody.
func decoded[T any](read func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("firewall: decode what the kernel holds: %v", p)
		}
	}()
	return read()
}
