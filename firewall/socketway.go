package firewall

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"swerve/lane"
)

// socketWays asks the kernel by which routes sockets send. Its zero value is ready for
// use; the first question opens it.
type socketWays struct {
	ways
	opened bool
	// holders are the devices that have the sockets' addresses.
	holders map[netip.Addr]int
}

// socketWay is the way of a socket's packets.
type socketWay struct {
	way
	// foreign: by a table of another program, to a device without the socket's address.
	foreign bool
}

// spares reports whether a loss of any uplink leaves what goes this way alone: it needs
// no default route, and none of ours.
func (w socketWay) spares() bool {
	return w.local || w.known() && w.to.Bits() > 1 && !w.ours
}

func (w *socketWays) open(l lane.Layout) error {
	if w.opened {
		return nil
	}
	opened, err := newWays(Goal{Layout: l})
	if err != nil {
		return err
	}
	*w = socketWays{ways: opened, opened: true, holders: map[netip.Addr]int{}}
	return nil
}

func (w *socketWays) close() {
	if w.opened {
		w.ways.close()
	}
}

// of returns the way of a socket's packets; an unknown one where the kernel sends them
// nowhere.
func (w *socketWays) of(l lane.Layout, s socket) (socketWay, error) {
	to := s.remote.Addr()
	if to == s.local {
		return socketWay{way: way{local: true}}, nil // also while the address is gone
	}
	if err := w.open(l); err != nil {
		return socketWay{}, err
	}
	q := question{to: to, from: s.local, mark: s.mark, out: s.device}
	if w.ports {
		q.protocol, q.ports = unix.IPPROTO_TCP, [2]uint16{s.port, s.remote.Port()}
	}
	found := socketWay{way: w.ask(q)}
	if !found.to.IsValid() { // in IPv4, a source that is not ours is no question
		q.from = netip.Addr{}
		found.way = w.ask(q)
	}
	holder := w.holder(s.local)
	found.foreign = found.known() && holder != 0 && found.index != holder &&
		found.table != unix.RT_TABLE_MAIN && found.table != unix.RT_TABLE_DEFAULT && l.LaneOf(int(found.table)) == 0
	return found, nil
}

// holder returns the index of the device that has an address, or 0.
func (w *socketWays) holder(a netip.Addr) int {
	index, ok := w.holders[a]
	if !ok {
		if own := w.plain(a); own.local {
			index = own.holder
		}
		w.holders[a] = index
	}
	return index
}
