package firewall

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// graceTime is how long TCP segments without an entry are answered with a reset
// after a loss: longer than any client that is still busy waits between two.
const graceTime = time.Minute

// nftDuration writes whole minutes or seconds as nft(8) does.
func nftDuration(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

func graceSetOf(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, Name: graceSet, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian,
		HasTimeout: true, Timeout: graceTime,
	}
}

// Grace answers, for a minute from now, TCP segments that leave by one of these
// interfaces and belong to no flow with a reset. It is meant for the interfaces
// to which the flows of a lost uplink now go: where the kernel itself threw away
// their entries (device down, address gone), nothing else is left that could end
// them. The table must have been applied before.
func (k *Kernel) Grace(interfaces []string) error {
	var elements []nftables.SetElement
	for _, name := range slices.Compact(slices.Sorted(slices.Values(interfaces))) {
		elements = append(elements, nftables.SetElement{Key: ifname(name)})
	}
	if len(elements) == 0 {
		return nil
	}
	err := k.transactElements(func(tx *transaction) {
		set := graceSetOf(tx.table)
		// An element that is already there would keep its old timeout. Only what
		// is there can be deleted, so it is added, deleted and added.
		tx.try(tx.SetAddElements(set, elements))
		tx.try(tx.SetDeleteElements(set, elements))
		tx.try(tx.SetAddElements(set, elements))
	})
	if err != nil {
		return fmt.Errorf("firewall: grace for %v: %w", interfaces, err)
	}
	k.known.movedOn(false)
	return nil
}
