package linkmon

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A route may use a nexthop object by its number alone: with
// net.ipv4.nexthop_compat_mode=0 the kernel does not say in the route what the object
// is. So the objects are read as well, where a default route uses any.

// nexthop is a nexthop object: one hop, or a group of others with weights.
type nexthop struct {
	id    uint32
	hop   hop
	group []member
}

// member is an object of a group.
type member struct {
	id     uint32
	weight int
}

const (
	rtaNHID = 30 // RTA_NH_ID of linux/rtnetlink.h
	nhaFDB  = 11 // NHA_FDB of linux/nexthop.h: an object for bridges
)

// encapOf has the attributes of a route for those of a nexthop object.
var encapOf = map[uint16]uint16{unix.NHA_ENCAP_TYPE: unix.RTA_ENCAP_TYPE, unix.NHA_ENCAP: unix.RTA_ENCAP}

// nexthopHead is the size of struct nhmsg.
const nexthopHead = 8

// decodeNexthop decodes the payload of RTM_NEWNEXTHOP (linux/nexthop.h). It returns
// false for objects that are no way for packets.
func decodeNexthop(b []byte) (nexthop, bool) {
	if len(b) < nexthopHead {
		return nexthop{}, false
	}
	n := nexthop{hop: hop{weight: 1}}
	usable := true
	for kind, value := range attributes(b[nexthopHead:]) {
		switch kind {
		case unix.NHA_ID:
			n.id = number(value)
		case unix.NHA_OIF:
			n.hop.index = int(number(value))
		case unix.NHA_GATEWAY:
			n.hop.gateway = ip(value)
		case unix.NHA_ENCAP_TYPE, unix.NHA_ENCAP:
			n.hop.add(encapOf[kind], value)
		case unix.NHA_GROUP:
			n.group = decodeGroup(value)
		case unix.NHA_BLACKHOLE, nhaFDB:
			usable = false
		}
	}
	return n, usable && n.id != 0
}

// decodeGroup decodes NHA_GROUP, a sequence of struct nexthop_grp: the object, the
// lower byte of its weight less 1, and the upper one.
func decodeGroup(b []byte) (group []member) {
	const size = 8
	for ; len(b) >= size; b = b[size:] {
		group = append(group, member{id: binary.NativeEndian.Uint32(b), weight: int(b[4]) + int(b[5])<<8 + 1})
	}
	return group
}

// resolve gives routes that use nexthop objects their hops.
func (k *kernel) resolve(routes []route) error {
	needed := false
	for _, r := range routes {
		needed = needed || r.object != 0
	}
	if !needed {
		return nil
	}
	found, err := dump(k, unix.RTM_GETNEXTHOP, make([]byte, nexthopHead), decodeNexthop)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("linkmon: list nexthop objects: %w", err)
	}
	objects := make(map[uint32]nexthop, len(found))
	for _, n := range found {
		objects[n.id] = n
	}
	for i, r := range routes {
		if r.object != 0 {
			routes[i].hops = hopsOf(objects, r.object)
		}
	}
	return nil
}

// hopsOf returns the hops of an object. Groups hold no groups.
func hopsOf(objects map[uint32]nexthop, id uint32) []hop {
	n, ok := objects[id]
	switch {
	case !ok:
		return nil
	case len(n.group) == 0:
		return []hop{n.hop}
	}
	var hops []hop
	for _, m := range n.group {
		if one, ok := objects[m.id]; ok && len(one.group) == 0 {
			one.hop.weight = m.weight
			hops = append(hops, one.hop)
		}
	}
	return hops
}
