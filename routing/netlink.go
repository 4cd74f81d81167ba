package routing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// Netlink is the real kernel, accessed by rtnetlink(7), in the network namespace in
// which it was opened. Its methods may be called from any goroutine.
type Netlink struct {
	// write makes changes.
	write *netlink.Handle
	// read has strict checking enabled: the kernel then sends only what was
	// requested.
	read *nl.SocketHandle
	// changes is a plain socket, for changes of routes.
	changes *nl.SocketHandle
}

var _ Kernel = (*Netlink)(nil)

// requestTimeout bounds the wait for an answer, which takes microseconds.
const requestTimeout = 5 * time.Second

// dumpTries bounds how often a dump is tried that a change in the kernel interrupts.
const dumpTries = 16

// Open opens the sockets in the calling thread's network namespace.
func Open() (*Netlink, error) {
	read, err := openSocket(true)
	if err != nil {
		return nil, fmt.Errorf("routing: open a netlink socket for reading: %w", err)
	}
	changes, err := openSocket(false)
	if err != nil {
		read.Close()
		return nil, fmt.Errorf("routing: open a netlink socket for changes of routes: %w", err)
	}
	write, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		if err = write.SetSocketTimeout(requestTimeout); err != nil {
			write.Close()
		}
	}
	if err != nil {
		read.Close()
		changes.Close()
		return nil, fmt.Errorf("routing: open a netlink socket for changes: %w", err)
	}
	return &Netlink{write: write, read: read, changes: changes}, nil
}

// openSocket opens a socket for requests. A strict one makes the kernel check them in
// full. It is for dumps, and gets errors without the kernel's explanation: the library
// panics at the end of a dump that has one, as in a namespace that has no table main yet.
func openSocket(strict bool) (*nl.SocketHandle, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group: a plain socket
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(requestTimeout.Nanoseconds())
	if strict {
		err = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	} else {
		err = s.SetExtAck(true)
	}
	err = errors.Join(err, s.SetSendTimeout(&timeout), s.SetReceiveTimeout(&timeout))
	if err != nil {
		s.Close()
		return nil, err
	}
	return &nl.SocketHandle{Socket: s}, nil
}

// Close closes the sockets.
func (k *Netlink) Close() {
	k.write.Close()
	k.read.Close()
	k.changes.Close()
}

// Read returns the routes and rules of our protocol, in any table and at any
// priority.
func (k *Netlink) Read() (State, error) {
	var s State
	for _, f := range failover.Families {
		rules, early, err := k.rules(f)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			continue // a kernel without the family holds nothing of it
		}
		if err != nil {
			return State{}, fmt.Errorf("routing: read the %s rules: %w", f, err)
		}
		routes, err := k.routes(f, lane.Protocol, func(Route) bool { return true })
		if err != nil {
			return State{}, fmt.Errorf("routing: read the %s routes: %w", f, err)
		}
		s.Rules = append(s.Rules, rules...)
		s.early = append(s.early, early...)
		s.Routes = append(s.Routes, routes...)
	}
	s.sort()
	return s, nil
}

// Others is what other programs have of routes and rules.
type Others struct {
	// Defaults are the default routes in the main table, in our tables, in those of
	// Heeded and in those that rules look up for all packets, and the routes of length 1
	// in main, sorted. The devices of those in main have their names.
	Defaults []Route
	// Narrower are other routes in our tables, sorted, as many as MaxNarrower.
	Narrower []Route
	// Heeded are the rules that ours have to heed, Rules all but the kernel's own, both
	// in the kernel's order.
	Heeded []ForeignRule
	Rules  []OtherRule
}

// ReadOthers reads every rule, and every route of the machine, which takes some milliseconds
// where there are tens of thousands: call it after changes, not at each switch.
func (k *Netlink) ReadOthers(l lane.Layout) (o Others, err error) {
	type both struct {
		heeded ForeignRule
		heed   bool
		other  OtherRule
		count  bool
	}
	all, err := rulesBy(k, func(b []byte, f failover.Family) (r both, ok bool, err error) {
		if r.heeded, r.heed, err = decodeForeignRule(b, l); err != nil {
			return both{}, false, err
		}
		r.other, r.count, err = decodeOtherRule(b)
		r.heed, r.count = r.heed && r.heeded.Family == f, r.count && r.other.Family == f
		return r, r.heed || r.count, err
	})
	if err != nil {
		return Others{}, err
	}
	for _, r := range all {
		if r.heed {
			o.Heeded = append(o.Heeded, r.heeded)
		}
		if r.count {
			o.Rules = append(o.Rules, r.other)
		}
	}
	o.Defaults, o.Narrower, err = k.defaults(l, o.Heeded, o.Rules)
	return o, err
}

// MaxNarrower bounds the routes of others in our tables that are remembered: somebody may
// have copied the internet's there.
const MaxNarrower = 64

// defaults returns the default routes of others, and the narrower ones, as in [Others].
func (k *Netlink) defaults(l lane.Layout, looked []ForeignRule, others []OtherRule) (all, narrower []Route, err error) {
	var s, inside State
	ours := func(table int) bool {
		return table == MainTable || l.LaneOf(table) != 0 ||
			slices.ContainsFunc(looked, func(r ForeignRule) bool { return r.Table == table }) ||
			slices.ContainsFunc(others, func(r OtherRule) bool { return r.All && r.Table == table })
	}
	for _, f := range failover.Families {
		left := MaxNarrower // a dump that begins again counts some twice
		isNarrower := func(r Route) bool { return r.Dst.Bits() > 0 && l.LaneOf(r.Table) != 0 }
		// Others have destinations, so they are no default routes, nor halves of them.
		worth := func(b []byte) bool { return b[1] <= 1 || l.LaneOf(tableOf(b)) != 0 }
		routes, err := k.peekedRoutes(f, &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f)}}, worth, func(r Route) bool {
			if r.Protocol == lane.Protocol || !ours(r.Table) {
				return false
			}
			if isNarrower(r) {
				left--
				return left >= 0
			}
			return r.Dst.Bits() == 0 || r.Table == MainTable && slices.Contains(halves[f][:], r.Dst)
		})
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, nil, fmt.Errorf("routing: read the %s default routes of others: %w", f, err)
		}
		for _, r := range routes {
			to := &s
			if isNarrower(r) {
				to = &inside
			}
			to.Routes = append(to.Routes, r)
		}
	}
	for _, some := range []*State{&s, &inside} {
		if err := k.resolve(some.Routes); err != nil {
			return nil, nil, err
		}
		some.sort()
		k.nameDevices(some.Routes)
	}
	return s.Routes, inside.Routes, nil
}

// pinning are the protocols of pins: of clients, which are overruled, and of persons and
// VPNs, which are told.
var pinning = [...]uint8{unix.RTPROT_DHCP, unix.RTPROT_RA, unix.RTPROT_BOOT, unix.RTPROT_STATIC}

// Pins returns the host routes in main of DHCP clients, router advertisements,
// systemd-networkd, persons and VPNs to public addresses by a gateway, sorted: MaxPins of
// them, those of clients first, and whether there are more of clients. The kernel filters
// by protocol, so that a full table costs little; still, call it after changes, not at
// each switch.
func (k *Netlink) Pins() (pins []Route, more bool, err error) {
	var s State
	for _, f := range failover.Families {
		for _, protocol := range pinning {
			req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f), Table: unix.RT_TABLE_MAIN, Protocol: protocol}}
			routes, err := k.someRoutes(f, req, func(r Route) bool { return r.Protocol == protocol && isPin(r) })
			if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOENT) {
				return nil, false, fmt.Errorf("routing: read the %s host routes of others: %w", f, err)
			}
			s.Routes = append(s.Routes, routes...)
		}
	}
	s.sort()
	slices.SortStableFunc(s.Routes, func(a, b Route) int { return compareBools(a.OfPerson(), b.OfPerson()) })
	if len(s.Routes) > MaxPins {
		more = !s.Routes[MaxPins].OfPerson()
		s.Routes = s.Routes[:MaxPins]
	}
	k.nameDevices(s.Routes)
	return s.Routes, more, nil
}

// nameDevices fills in the names of the devices of routes in main, as far as they
// are still there.
func (k *Netlink) nameDevices(routes []Route) {
	names := make(map[int]string)
	for _, r := range routes {
		for i := range r.Hops {
			index := r.Hops[i].Index
			if _, known := names[index]; !known && index != 0 && r.Table == MainTable {
				if link, err := k.write.LinkByIndex(index); err == nil {
					names[index] = link.Attrs().Name
				}
			}
			r.Hops[i].Device = names[index]
		}
	}
}

// rules returns the rules of our protocol, and those of them that come too early:
// before one of others at the same priority, or before one of ours that they should
// follow.
func (k *Netlink) rules(f failover.Family) (out, early []Rule, err error) {
	req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f)}}
	var at int // where the rules of the last priority begin
	reset := func() { out, early, at = nil, nil, 0 }
	err = k.dump(unix.RTM_GETRULE, unix.RTM_NEWRULE, req, reset, func(b []byte) error {
		r, ours, err := decodeRule(b)
		if err != nil || r.Family != f {
			return err
		}
		if at < len(out) && out[at].Priority != r.Priority {
			at = len(out)
		}
		for _, before := range out[at:] {
			if ours && before.rank() > r.rank() || !ours && !r.looksUpMain() && before.yields() {
				early = append(early, before)
			}
		}
		if ours {
			out = append(out, r)
		}
		return nil
	})
	return out, early, err
}

// routes returns the routes of a protocol, 0 for all, for which keep returns true.
func (k *Netlink) routes(f failover.Family, protocol uint8, keep func(Route) bool) (out []Route, err error) {
	req := &nl.RtMsg{RtMsg: unix.RtMsg{Family: afOf(f), Protocol: protocol}}
	return k.someRoutes(f, req, keep)
}

// tableOf returns the table of an RTM_NEWROUTE, which the kernel's first attribute has if
// its number is over 255.
func tableOf(b []byte) int {
	const attribute = unix.SizeofRtMsg
	if len(b) >= attribute+8 && binary.NativeEndian.Uint16(b[attribute+2:]) == unix.RTA_TABLE {
		return int(binary.NativeEndian.Uint32(b[attribute+4:]))
	}
	return int(b[4])
}

// someRoutes returns the routes that a request selects for which keep returns true.
func (k *Netlink) someRoutes(f failover.Family, req *nl.RtMsg, keep func(Route) bool) (out []Route, err error) {
	return k.peekedRoutes(f, req, func([]byte) bool { return true }, keep)
}

// peekedRoutes is someRoutes of those messages alone for which peek returns true, before
// they are decoded: there may be a million.
func (k *Netlink) peekedRoutes(f failover.Family, req *nl.RtMsg, peek func([]byte) bool, keep func(Route) bool) (out []Route, err error) {
	err = k.dump(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, req, func() { out = nil }, func(b []byte) error {
		if len(b) > 4 && !peek(b) {
			return nil
		}
		r, ok, err := decodeRoute(b)
		if ok && r.Family == f && keep(r) {
			out = append(out, r)
		}
		return err
	})
	return out, err
}

// dump calls add with each message of a dump. It calls reset at the beginning, and
// starts again if the dump was interrupted.
func (k *Netlink) dump(get, answer uint16, body nl.NetlinkRequestData, reset func(), add func([]byte) error) error {
	var err error
	for range dumpTries {
		reset()
		req := nl.NewNetlinkRequest(int(get), unix.NLM_F_DUMP)
		req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: k.read}
		req.AddData(body)
		var bad error
		err = req.ExecuteIter(unix.NETLINK_ROUTE, answer, func(b []byte) bool {
			bad = add(b)
			return bad == nil
		})
		if bad != nil {
			return bad
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return err
		}
	}
	return err
}
