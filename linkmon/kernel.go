package linkmon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/lane"
)

// kernel reads links, addresses, default routes and neighbours over one rtnetlink
// socket, which stays in the namespace where it was opened.
type kernel struct {
	socket   *nl.NetlinkSocket
	sequence *nl.SocketHandle
}

// state is all that the watch reads of the kernel at once.
type state struct {
	devices   []device
	addresses []address
	mainRoutes
	// proxies is read only where a narrow route is within a private network.
	proxies proxies
}

// mainRoutes is what is read of table main: routes that are not ours.
type mainRoutes struct {
	// defaults are the default routes.
	defaults []route
	// narrow are the others, of IPv4: those by a device alone where there are many.
	narrow []narrow
	// delegated are the IPv6 prefixes of routes to nowhere.
	delegated []netip.Prefix
	// size is how many routes the kernel listed for that.
	size int
}

const (
	// dumpTries bounds the repeats of a listing during which the kernel's list
	// changed.
	dumpTries = 5
	// answerLimit ends the wait for an answer that does not come. The kernel
	// answers while it handles the request, for which it needs the lock that all
	// of rtnetlink shares.
	answerLimit = 10 * time.Second
	// withoutStatistics is RTEXT_FILTER_SKIP_STATS: a link's counters, which are
	// most of its message, are not needed.
	withoutStatistics = 1 << 3
)

func openKernel() (*kernel, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group: for requests only
	if err != nil {
		return nil, fmt.Errorf("linkmon: open rtnetlink: %w", err)
	}
	limit := unix.NsecToTimeval(int64(answerLimit))
	if err := errors.Join(s.SetReceiveTimeout(&limit), s.SetSendTimeout(&limit)); err != nil {
		s.Close()
		return nil, fmt.Errorf("linkmon: set up rtnetlink: %w", err)
	}
	// Strict checking makes the kernel select by table, protocol and device.
	// A kernel that does not know the option lists all, and the decoders select.
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return &kernel{socket: s, sequence: &nl.SocketHandle{Socket: s}}, nil
}

func (k *kernel) close() { k.socket.Close() }

// read reads the state except the routes. Its parts are read one after the
// other, so they may be of different moments; the kernel's message about a change in
// between makes the watch read again.
func (k *kernel) read() (s state, err error) {
	if s.devices, err = dump(k, unix.RTM_GETLINK, linkRequest(0), decodeDevice); err != nil {
		return s, fmt.Errorf("linkmon: list links: %w", err)
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, err := dump(k, unix.RTM_GETADDR, addressRequest(family), decodeAddress)
		if err != nil {
			return s, fmt.Errorf("linkmon: list addresses: %w", err)
		}
		s.addresses = append(s.addresses, found...)
	}
	return s, nil
}

// routes lists the routes of table main that are not ours.
func (k *kernel) routes() (found mainRoutes, err error) {
	var others narrowRoutes
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		n := 0
		routes, err := dump(k, unix.RTM_GETROUTE, routeRequest(family), func(b []byte) (route, bool) {
			n++
			if family == unix.AF_INET {
				others.add(b)
			} else if p, ok := delegation(b); ok {
				found.delegated = append(found.delegated, p)
			}
			return decodeForeignDefault(b)
		})
		// A table exists from its first route on: early in a boot there is no main.
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return mainRoutes{}, fmt.Errorf("linkmon: list routes: %w", err)
		}
		found.delegated = sortedPrefixes(found.delegated)
		found.defaults, found.size = append(found.defaults, routes...), found.size+n
	}
	found.narrow = others.all(found.size)
	return found, k.resolve(found.defaults)
}

// decodeForeignDefault accepts only routes from which a gateway can be learnt.
func decodeForeignDefault(b []byte) (route, bool) {
	r, ok := decodeDefault(b)
	return r, ok && r.table == unix.RT_TABLE_MAIN && r.protocol != lane.Protocol && r.kind == unix.RTN_UNICAST
}

// dump lists everything of a kind. A listing that the kernel calls inconsistent
// is repeated, unless it takes long. If it stays inconsistent the last one is
// returned, since the changes that interrupt it also send the messages that make the
// watch read again.
func dump[T any](k *kernel, kind int, body []byte, decode func([]byte) (T, bool)) (found []T, err error) {
	for range dumpTries {
		began := time.Now()
		found = found[:0]
		err = k.request(kind, unix.NLM_F_DUMP, body, func(b []byte) {
			if v, ok := decode(b); ok {
				found = append(found, v)
			}
		})
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return found, err
		}
		if time.Since(began) > longListing {
			break
		}
	}
	return found, nil
}

// device reads one device by itself. Other than for a listing, the kernel first
// processes pending changes of the carrier (linkwatch), and updates its routes with
// them.
func (k *kernel) device(index int) (d device, ok bool, err error) {
	err = k.request(unix.RTM_GETLINK, 0, linkRequest(index), func(b []byte) { d, ok = decodeDevice(b) })
	if errors.Is(err, unix.ENODEV) {
		return d, false, nil
	}
	if err != nil {
		err = fmt.Errorf("linkmon: read link %d: %w", index, err)
	}
	return d, ok, err
}

// neighbor reads the entry of one neighbour; false where there is none.
func (k *kernel) neighbor(index int, addr netip.Addr) (n neighbor, ok bool, err error) {
	err = k.request(unix.RTM_GETNEIGH, 0, neighborRequest(index, addr), func(b []byte) { n, ok = decodeNeighbor(b) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return n, false, nil
	}
	if err != nil {
		err = fmt.Errorf("linkmon: read neighbour %s of link %d: %w", addr, index, err)
	}
	return n, ok, err
}

func (k *kernel) request(kind, flags int, body []byte, each func([]byte)) error {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: k.sequence}
	r.AddRawData(body)
	return r.ExecuteIter(unix.NETLINK_ROUTE, 0, func(b []byte) bool {
		each(b)
		return true
	})
}

// linkRequest is the body of RTM_GETLINK, for one device or for all (0).
func linkRequest(index int) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return appendNumber(b, unix.IFLA_EXT_MASK, withoutStatistics)
}

// addressRequest is the body of RTM_GETADDR.
func addressRequest(family uint8) []byte {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0] = family
	return b
}

// routeRequest is the body of RTM_GETROUTE for the unicast routes of table main.
func routeRequest(family uint8) []byte {
	b := make([]byte, unix.SizeofRtMsg)
	b[0] = family
	b[4] = unix.RT_TABLE_MAIN
	if family == unix.AF_INET {
		b[7] = unix.RTN_UNICAST // of IPv6 those to nowhere are wanted, too
	}
	return appendNumber(b, unix.RTA_TABLE, unix.RT_TABLE_MAIN)
}

// neighborRequest is the body of RTM_GETNEIGH for one entry.
func neighborRequest(index int, addr netip.Addr) []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = unix.AF_INET
	if addr.Is6() {
		b[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	return appendAttribute(b, unix.NDA_DST, addr.AsSlice())
}

func appendNumber(b []byte, kind uint16, value uint32) []byte {
	return appendAttribute(b, kind, binary.NativeEndian.AppendUint32(nil, value))
}

func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	size := unix.SizeofRtAttr + len(value)
	b = binary.NativeEndian.AppendUint16(b, uint16(size))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, aligned(size)-size)...)
}

// watched are the groups of rtnetlink's messages that the watch follows.
var watched = [...]uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
	unix.RTNLGRP_IPV4_NETCONF, // reverse paths may be filtered from now on
	unix.RTNLGRP_NEXTHOP,      // routes vanish silently with the nexthop that they use
}

// subscribe opens a socket for messages with a receive buffer of bufferSize, or as
// much of it as is permitted, and returns its size.
func subscribe(bufferSize int) (s *nl.NetlinkSocket, size int, err error) {
	if s, err = nl.Subscribe(unix.NETLINK_ROUTE, watched[:]...); err != nil {
		return nil, 0, fmt.Errorf("linkmon: subscribe to rtnetlink: %w", err)
	}
	// The limit rmem_max may be exceeded only with CAP_NET_ADMIN in the initial
	// user namespace.
	if s.SetReceiveBufferSize(bufferSize, true) != nil {
		err = s.SetReceiveBufferSize(bufferSize, false)
	}
	if err == nil {
		size, err = syscall.GetsockoptInt(s.GetFd(), unix.SOL_SOCKET, unix.SO_RCVBUF)
	}
	if err != nil {
		s.Close()
		return nil, 0, fmt.Errorf("linkmon: set the receive buffer of rtnetlink: %w", err)
	}
	return s, size, nil
}
