package firewall

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"swerve/failover"
	"swerve/lane"
)

// DeleteFlows deletes a pair's conntrack entries of these families, so that the next
// packet of each flow begins a new flow on another uplink. Established TCP
// connections stay: they wait for their reset. So do flows that came in by the
// uplink. It is a single command; the kernel scans the entries of all namespaces
// once to carry it out.
func (k *Kernel) DeleteFlows(l lane.Layout, pair Pair, families ...failover.Family) error {
	m, err := deleteByMark(families, l.CTPair(pair.Uplink, pair.Policy), l.CTMask&^l.CTRetried())
	if err = errors.Join(pair.check(), err); err == nil {
		_, err = k.execute(m)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("firewall: delete flows of lane %d: %w", pair.Uplink, err)
	}
	return nil
}

// check returns an error if it is not a pair that flows can have to leave.
func (p Pair) check() error {
	switch {
	case !p.Uplink.IsUplink():
		return fmt.Errorf("lane %d is not an uplink's", p.Uplink)
	case !p.Policy.IsPolicy():
		return fmt.Errorf("lane %d is not a policy's", p.Policy)
	}
	return nil
}

// EndFlows is DeleteFlows that also tells how many entries it deleted of each family. Where
// there are few it deletes one after the other, so that what ended by itself meanwhile, or
// left, which the packet filter counts, is not in it. Where there are many they are counted
// before, and not at all where listing them would take long; counted says so.
func (k *Kernel) EndFlows(l lane.Layout, pair Pair, families ...failover.Family) (n [2]int, counted bool, err error) {
	if err := pair.check(); err != nil {
		return n, false, fmt.Errorf("firewall: end flows of lane %d: %w", pair.Uplink, err)
	}
	few := listable() == nil
	if few || listsQuickly() {
		n, err = endListed(l, pair, few, families)
		counted = err == nil
	}
	return n, counted, k.DeleteFlows(l, pair, families...)
}

// endListed counts the entries of a pair, and deletes them if that is wanted: those are
// counted that it has deleted.
func endListed(l lane.Layout, pair Pair, deletes bool, families []failover.Family) (n [2]int, err error) {
	mark, mask := l.CTPair(pair.Uplink, pair.Policy), l.CTMask&^l.CTRetried()
	selection, err := selectMark(mark, mask)
	if err != nil {
		return n, err
	}
	var writers [2]*flowWriter
	for _, f := range families {
		if writers[f], err = openFlowWriter(); err != nil {
			return n, err
		}
		defer writers[f].conn.Close()
	}
	err = listFlows(selection, func(f flow) bool {
		w := writers[f.family]
		switch {
		case w == nil || f.mark&mask != mark || f.offloaded(): // these stay
		case deletes:
			w.add(deleteFlow(f))
		default:
			n[f.family]++
		}
		return w == nil || w.err == nil
	})
	for _, f := range families {
		writers[f].flush()
		n[f] += writers[f].done
		err = errors.Join(err, writers[f].err)
	}
	return n, err
}

// DropFlows deletes all conntrack entries with an uplink's lane, whatever their
// policy: those of established TCP and those that came in by the uplink too. It is
// for an uplink that is used no more, or by another interface or with other addresses in
// these families, as a single command like DeleteFlows. Then it has the clients of TCP
// connections that were in use speak, as Poke does: what they say meets the reset that
// Grace has for it, which has to be called before.
func (k *Kernel) DropFlows(l lane.Layout, uplink lane.Lane, families ...failover.Family) (Pokes, error) {
	fail := func(p Pokes, err error) (Pokes, error) {
		if err != nil {
			err = fmt.Errorf("firewall: drop flows of lane %d: %w", uplink, err)
		}
		return p, err
	}
	if !uplink.IsUplink() {
		return fail(Pokes{}, errors.New("not the lane of an uplink"))
	}
	m, err := deleteByMark(families, l.CTPair(uplink, 0), l.CTUplinkMask()&^l.CTRetried())
	if err != nil {
		return fail(Pokes{}, err)
	}
	done, err := k.pokeAfter(l, []Loss{{Pair{Uplink: uplink}, families}}, func() error {
		if _, err := k.execute(m); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	})
	return fail(done[0], err)
}

// flowChange is what to do with an entry.
type flowChange uint8

const (
	keepFlow flowChange = iota
	markFlow
	dropFlow
)

// eachFlow calls decide with each entry of both families, and makes the change that
// it returns. Only the bits of mask are ever changed in marks. However many entries
// there are, memory stays bounded: they are processed as the kernel sends them. It
// returns how many were changed.
//
// It is no error if an entry has ended before its change.
func eachFlow(mask uint32, decide func(flow) (change flowChange, mark uint32)) (int, error) {
	return eachFlowIn(nil, mask, decide)
}

// eachFlowIn is eachFlow for the entries that the kernel selects by these attributes.
func eachFlowIn(selection []byte, mask uint32, decide func(flow) (change flowChange, mark uint32)) (int, error) {
	w, err := openFlowWriter()
	if err != nil {
		return 0, err
	}
	defer w.conn.Close()
	err = listFlows(selection, func(f flow) bool {
		switch change, mark := decide(f); change {
		case keepFlow:
		case markFlow:
			w.add(remarkFlow(f, mark, mask))
		case dropFlow:
			w.add(deleteFlow(f))
		}
		return w.err == nil
	})
	w.flush()
	return w.done, errors.Join(err, w.err)
}

// listFlows calls visit with each entry that the kernel selects, until it returns false.
func listFlows(selection []byte, visit func(flow) bool) error {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|ctMessageGet, unix.NLM_F_DUMP)
	req.AddRawData(append(nfgenmsg(unix.AF_UNSPEC, 0), selection...))
	return req.ExecuteIter(unix.NETLINK_NETFILTER, 0, func(message []byte) bool {
		f, err := decodeFlow(message)
		return err != nil || visit(f) // an error: of another family, or in a form of a later kernel
	})
}

// deleteFlows deletes entries one by one, and returns how many it did.
func deleteFlows(flows []flow) (int, error) {
	if len(flows) == 0 {
		return 0, nil
	}
	w, err := openFlowWriter()
	if err != nil {
		return 0, err
	}
	defer w.conn.Close()
	for _, f := range flows {
		w.add(deleteFlow(f))
	}
	w.flush()
	return w.done, w.err
}

// flowWriter sends changes of entries in batches.
type flowWriter struct {
	conn    *netlink.Conn
	pending []netlink.Message
	done    int
	err     error
}

// changesAtOnce bounds the changes of a batch: the kernel's answers to them wait in
// the socket's buffer.
const changesAtOnce = 128

func openFlowWriter() (*flowWriter, error) {
	conn, err := dial(bufferSize)
	if err != nil {
		return nil, err
	}
	return &flowWriter{conn: conn}, nil
}

func (w *flowWriter) add(m netlink.Message, err error) {
	if err != nil {
		w.fail(err)
		return
	}
	m.Header.Flags &^= netlink.Acknowledge
	w.pending = append(w.pending, m)
	if len(w.pending) == changesAtOnce {
		w.flush()
	}
}

// flush sends the pending changes. The kernel answers only those that fail, and the
// last message, which only requests an acknowledgement.
func (w *flowWriter) flush() {
	if len(w.pending) == 0 || w.err != nil {
		return
	}
	w.done += len(w.pending)
	end := netlink.Message{Header: netlink.Header{Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge}}
	_, err := w.conn.SendMessages(append(w.pending, end))
	w.pending = w.pending[:0]
	if err != nil {
		w.fail(err)
		return
	}
	for range changesAtOnce + 1 {
		_, err := w.conn.Receive()
		if err == nil {
			return
		}
		w.done--
		// ENOENT: the entry has ended meanwhile. EBUSY: a flow table forwards it by now.
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
			w.fail(err)
		}
	}
}

func (w *flowWriter) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
