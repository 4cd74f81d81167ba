package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"

	"swerve/lane"
)

// graceTime is how long after a loss TCP segments without an entry are answered with
// a reset: longer than any active client waits between two segments.
const graceTime = time.Minute

// nftDuration formats whole minutes or seconds as nft(8) does.
func nftDuration(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

func graceSetOf(t *nftables.Table) *nftables.Set { return timedSet(t, graceSet, graceTime) }

// holdTime is the longest time for which segments are held back, where none is given.
const holdTime = 2 * time.Second

func holdSetOf(t *nftables.Table) *nftables.Set { return timedSet(t, holdSet, holdTime) }

// lapsedTime is how much longer segments that come in by the lapsed uplink are dropped:
// a server sends again after seconds, and the client's next segment has to be first.
const lapsedTime = 3 * time.Second

func lapsedSetOf(t *nftables.Table) *nftables.Set {
	return timedSet(t, lapsedSet, holdTime+lapsedTime)
}

// timedSets returns the sets whose elements are added for a while.
func timedSets(t *nftables.Table) []*nftables.Set {
	return []*nftables.Set{graceSetOf(t), holdSetOf(t), lapsedSetOf(t), fallenSetOf(t)}
}

// timedNames are the names of timedSets.
var timedNames = []string{graceSet, holdSet, lapsedSet, fallenSet}

// isTimed reports whether a set of ours has elements that are added for a while.
func isTimed(name string) bool { return slices.Contains(timedNames, name) }

func timedSet(t *nftables.Table, name string, timeout time.Duration) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian,
		HasTimeout: true, Timeout: timeout,
	}
}

// Grace has TCP segments that leave by one of these interfaces and belong to no flow
// answered with a reset, for one minute from now. It is meant for the interfaces
// that the flows of a lost uplink now use: if the kernel itself has removed their
// entries (device down, address gone), nothing else can end them. A Hold on them ends, as
// what it waited for did not come. The table must have been applied before.
func (k *Kernel) Grace(interfaces []string) error {
	if err := k.timed(timed{graceSetOf, interfaces, graceTime}, timed{holdSetOf, interfaces, 0}); err != nil {
		return fmt.Errorf("firewall: grace for %v: %w", interfaces, err)
	}
	return nil
}

// Hold has TCP segments dropped that belong to no flow and would leave by one of the
// other interfaces, for so long from now, or that come in by the lapsed one, for some
// seconds longer. It is meant for the uplinks while the address of one is renewed: the
// kernel has removed the entries of its flows, which go on where nothing of them was
// sent by another uplink, and where the gateway has not answered their servers with a
// reset. The table must have been applied before.
func (k *Kernel) Hold(lapsed string, others []string, wait time.Duration) error {
	if err := k.timed(timed{holdSetOf, others, wait}, timed{lapsedSetOf, []string{lapsed}, wait + lapsedTime}); err != nil {
		return fmt.Errorf("firewall: hold for %s, by %v: %w", lapsed, others, err)
	}
	return nil
}

// mostListed is how many entries there may be at most where the kernel is to look for a few:
// it walks over all of them, and before Linux 6.3 it also answers for each part.
const mostListed = 20_000

// listable returns an error where there are more.
func listable() error {
	n, err := flowCount()
	if err == nil && n > mostListed {
		err = fmt.Errorf("there are %d entries, which take too long to list", n)
	}
	return err
}

// EndMisled deletes the entries of flows that began anew in the moment between the
// deletion of an uplink's addresses and a Hold, and that nothing has answered yet, and
// returns how many. On the other uplinks these are TCP connections that were under way.
// On the lapsed one they are flows with a source that is none of its addresses: as long
// as a device has none, the kernel masquerades with one of another device. They would
// stay as they are while their clients send.
func (k *Kernel) EndMisled(l lane.Layout, lapsed lane.Lane, addresses []netip.Addr, others ...lane.Lane) (int, error) {
	fail := func(n int, err error) (int, error) {
		return n, fmt.Errorf("firewall: end what left lane %d for %v: %w", lapsed, others, err)
	}
	if err := listable(); err != nil {
		return fail(0, err)
	}
	done := 0
	mask := l.CTUplinkMask()&^l.CTRetried() | l.CTEstablished()
	for _, u := range append([]lane.Lane{lapsed}, others...) {
		if !u.IsUplink() {
			return fail(done, fmt.Errorf("lane %d is not an uplink's", u))
		}
		selection, err := selectMark(l.Mark(u), mask)
		if err != nil {
			return fail(done, err)
		}
		n, err := eachFlowIn(selection, 0, func(f flow) (flowChange, uint32) {
			misled := f.established()
			if u == lapsed {
				misled = f.status&ctStatusSrcNAT != 0 && !slices.Contains(addresses, f.replyDst)
			}
			if f.mark&mask == l.Mark(u) && f.hasStatus && !f.answered() && misled {
				return dropFlow, 0
			}
			return keepFlow, 0
		})
		done += n
		if err != nil {
			return fail(done, err)
		}
	}
	return done, nil
}

// timed is a change of a set: interfaces to add, for so long from now; none of them is left
// in it where that is 0.
type timed struct {
	setOf      func(*nftables.Table) *nftables.Set
	interfaces []string
	timeout    time.Duration
}

// timed makes changes of sets in one transaction.
func (k *Kernel) timed(changes ...timed) error {
	changes = slices.DeleteFunc(changes, func(c timed) bool { return len(c.interfaces) == 0 })
	if len(changes) == 0 {
		return nil
	}
	err := k.transactElements(func(tx *transaction) {
		for _, c := range changes {
			var elements []nftables.SetElement
			for _, name := range slices.Compact(slices.Sorted(slices.Values(c.interfaces))) {
				elements = append(elements, nftables.SetElement{Key: ifname(name), Timeout: c.timeout})
			}
			set := c.setOf(tx.table)
			// Adding an existing element would keep its old timeout, and deleting one
			// that does not exist fails. So it is added, deleted and added again.
			tx.try(tx.SetAddElements(set, elements))
			tx.try(tx.SetDeleteElements(set, elements))
			if c.timeout > 0 {
				tx.try(tx.SetAddElements(set, elements))
			}
		}
	})
	if err != nil {
		return err
	}
	k.known.advance(false)
	return nil
}
