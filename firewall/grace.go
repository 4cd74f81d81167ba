package firewall

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
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

func timedSet(t *nftables.Table, name string, timeout time.Duration) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian,
		HasTimeout: true, Timeout: timeout,
	}
}

// Grace has TCP segments that leave by one of these interfaces and belong to no flow
// answered with a reset, for one minute from now. It is meant for the interfaces
// that the flows of a lost uplink now use: if the kernel itself has removed their
// entries (device down, address gone), nothing else can end them. The table must
// have been applied before.
func (k *Kernel) Grace(interfaces []string) error {
	if err := k.timed(graceSetOf, interfaces, graceTime); err != nil {
		return fmt.Errorf("firewall: grace for %v: %w", interfaces, err)
	}
	return nil
}

// Hold has TCP segments that would leave by one of these interfaces and belong to no
// flow dropped, for so long from now. It is meant for the interfaces of the other
// uplinks while the address of one is renewed: the kernel has removed the entries of
// its flows, which go on where nothing of them was sent by another uplink. The table
// must have been applied before.
func (k *Kernel) Hold(interfaces []string, wait time.Duration) error {
	if err := k.timed(holdSetOf, interfaces, wait); err != nil {
		return fmt.Errorf("firewall: hold for %v: %w", interfaces, err)
	}
	return nil
}

// timed puts interfaces into a set, for so long from now.
func (k *Kernel) timed(setOf func(*nftables.Table) *nftables.Set, interfaces []string, timeout time.Duration) error {
	var elements []nftables.SetElement
	for _, name := range slices.Compact(slices.Sorted(slices.Values(interfaces))) {
		elements = append(elements, nftables.SetElement{Key: ifname(name), Timeout: timeout})
	}
	if len(elements) == 0 {
		return nil
	}
	err := k.transactElements(func(tx *transaction) {
		set := setOf(tx.table)
		// Adding an existing element would keep its old timeout, and deleting one
		// that does not exist fails. So it is added, deleted and added again.
		tx.try(tx.SetAddElements(set, elements))
		tx.try(tx.SetDeleteElements(set, elements))
		tx.try(tx.SetAddElements(set, elements))
	})
	if err != nil {
		return err
	}
	k.known.advance(false)
	return nil
}
