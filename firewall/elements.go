package firewall

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// readElements reads the elements of the table's named verdict maps.
func (r reader) readElements(h *heldTable) error {
	for _, name := range h.setNames() {
		set := h.sets[name]
		if set.flags&unix.NFT_SET_MAP == 0 {
			continue
		}
		if err := r.readMap(name, set.elements); err != nil {
			return fmt.Errorf("read map %s: %w", name, err)
		}
	}
	return nil
}

func (r reader) readMap(name string, into map[string]string) error {
	which := append(ofTable(), attribute{unix.NFTA_SET_ELEM_LIST_SET, name})
	return r.dump(unix.NFT_MSG_GETSETELEM, which, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *netlink.AttributeDecoder) error { return decodeElement(e, into) })
				}
				return list.Err()
			})
		}
	}, nil)
}

// decodeElement decodes one element, a key and a verdict with its chain, into a map.
func decodeElement(ad *netlink.AttributeDecoder, into map[string]string) error {
	var key []byte
	var chain string
	var end bool
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_ELEM_KEY:
			ad.Nested(func(k *netlink.AttributeDecoder) error {
				for k.Next() {
					if k.Type() == unix.NFTA_DATA_VALUE {
						key = k.Bytes()
					}
				}
				return k.Err()
			})
		case unix.NFTA_SET_ELEM_FLAGS:
			end = ad.Uint32()&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_DATA:
			ad.Nested(func(d *netlink.AttributeDecoder) error { return decodeVerdict(d, &chain) })
		}
	}
	into[heldKey(string(key), end)] = chain
	return ad.Err()
}

func decodeVerdict(ad *netlink.AttributeDecoder, chain *string) error {
	for ad.Next() {
		if ad.Type() != unix.NFTA_DATA_VERDICT {
			continue
		}
		ad.Nested(func(v *netlink.AttributeDecoder) error {
			for v.Next() {
				if v.Type() == unix.NFTA_VERDICT_CHAIN {
					*chain = v.String()
				}
			}
			return v.Err()
		})
	}
	return ad.Err()
}
