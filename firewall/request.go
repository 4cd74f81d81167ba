package firewall

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// attribute is a string attribute of a request.
type attribute struct {
	kind  uint16
	value string
}

// ofTable restricts a request to our table: its name is attribute 1 of objects of
// every kind.
func ofTable() []attribute { return []attribute{{unix.NFTA_TABLE_NAME, tableName}} }

// dump requests all objects of a kind, request what its flags say. each is called
// with every attribute of an answer, end after the last attribute of each answer.
func (r reader) dump(kind uint16, attributes []attribute, each func(*netlink.AttributeDecoder), end func()) error {
	return r.request(kind, netlink.Dump, attributes, each, end)
}

func (r reader) request(kind uint16, flags netlink.HeaderFlags, attributes []attribute, each func(*netlink.AttributeDecoder), end func()) error {
	ae := netlink.NewAttributeEncoder()
	for _, a := range attributes {
		ae.String(a.kind, a.value)
	}
	payload, err := ae.Encode()
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	answers, err := r.kernel.execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind),
			Flags: netlink.Request | flags,
		},
		Data: append(nfgenmsg(unix.NFPROTO_INET, 0), payload...),
	})
	if err != nil {
		return err
	}
	for _, m := range answers {
		if err := eachAttribute(m.Data, each); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if end != nil {
			end()
		}
	}
	return nil
}

// nfgenmsg is the header of every netfilter message: family, version, and a
// resource id of zero.
func nfgenmsg(family, version byte) []byte { return []byte{family, version, 0, 0} }

// eachAttribute calls each with the attributes of a netfilter message.
func eachAttribute(message []byte, each func(*netlink.AttributeDecoder)) error {
	const header = 4 // nfgenmsg
	if len(message) < header {
		return fmt.Errorf("a message of %d bytes", len(message))
	}
	ad, err := netlink.NewAttributeDecoder(message[header:])
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		each(ad)
	}
	return ad.Err()
}
