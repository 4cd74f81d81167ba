package routing

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Routes of others may use a nexthop object by its number alone, where
// net.ipv4.nexthop_compat_mode is 0. Ours never do.

const (
	rtaNHID      = 30 // RTA_NH_ID of linux/rtnetlink.h
	nexthopHead  = 8  // the size of struct nhmsg
	groupMember  = 8  // the size of struct nexthop_grp
	mostObjects  = 64 // more hops than a route of interest has
	weightHigher = 8  // the bits by which the upper byte of a weight is shifted
)

// nexthop is a nexthop object: a hop, or a group of others by their numbers.
type nexthop struct {
	id    uint32
	hop   Hop
	group []Hop // Index is the member's number
}

func decodeNexthop(b []byte) (n nexthop, err error) {
	if len(b) < nexthopHead {
		return n, fmt.Errorf("%w: nexthop object of %d bytes", errMalformed, len(b))
	}
	n.hop.Weight = 1
	err = eachAttr(b[nexthopHead:], func(kind uint16, value []byte) (err error) {
		var number uint32
		switch kind {
		case unix.NHA_ID:
			n.id, err = decodeUint32(value)
		case unix.NHA_OIF:
			number, err = decodeUint32(value)
			n.hop.Index = int(number)
		case unix.NHA_GATEWAY:
			n.hop.Gateway, err = decodeAddr(value)
		case unix.NHA_GROUP:
			for ; len(value) >= groupMember && len(n.group) < mostObjects; value = value[groupMember:] {
				n.group = append(n.group, Hop{
					Index:  int(binary.NativeEndian.Uint32(value)),
					Weight: int(value[4]) + int(value[5])<<weightHigher + 1,
				})
			}
		}
		return err
	})
	return n, err
}

// resolve gives the routes that use nexthop objects their hops.
func (k *Netlink) resolve(routes []Route) error {
	objects := map[uint32]nexthop{}
	for i := range routes {
		if routes[i].object == 0 {
			continue
		}
		if len(objects) == 0 {
			if err := k.nexthops(objects); err != nil {
				return fmt.Errorf("routing: read the nexthop objects: %w", err)
			}
		}
		n := objects[routes[i].object]
		routes[i].Hops = nil
		if n.hop.Index != 0 {
			routes[i].Hops = []Hop{n.hop}
		}
		for _, m := range n.group {
			if one := objects[uint32(m.Index)]; one.hop.Index != 0 {
				one.hop.Weight = m.Weight
				routes[i].Hops = append(routes[i].Hops, one.hop)
			}
		}
	}
	return nil
}

func (k *Netlink) nexthops(into map[uint32]nexthop) error {
	body := rawData(make([]byte, nexthopHead))
	err := k.dump(unix.RTM_GETNEXTHOP, unix.RTM_NEWNEXTHOP, body, func() { clear(into) }, func(b []byte) error {
		n, err := decodeNexthop(b)
		into[n.id] = n
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// rawData is the payload of a request as it is.
type rawData []byte

var _ nl.NetlinkRequestData = rawData(nil)

// Len returns its length in bytes.
func (d rawData) Len() int { return len(d) }

// Serialize returns it.
func (d rawData) Serialize() []byte { return d }
