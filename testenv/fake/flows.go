package fake

import (
	"fmt"
	"net/netip"
	"strings"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// Flows records the requests.
type Flows struct {
	Journal *Journal
	// Healed is how many flows Heal reports.
	Healed int
}

// Heal records the call and reports Healed flows.
func (f *Flows) Heal(firewall.Goal) (int, error) { return f.Healed, f.Journal.Note("heal flows") }

// Grace records the interfaces.
func (f *Flows) Grace(interfaces []string) error {
	return f.Journal.Note("grace %s", strings.Join(interfaces, " "))
}

// EndMisled records the uplinks, and reports that one flow has ended.
func (f *Flows) EndMisled(_ lane.Layout, lapsed lane.Lane, _ []netip.Addr, others ...lane.Lane) (int, error) {
	return 1, f.Journal.Note("end misled of %d by %s", lapsed, strings.Trim(fmt.Sprint(others), "[]"))
}

// EndFlows is DeleteFlows that reports five of each family.
func (f *Flows) EndFlows(l lane.Layout, pair firewall.Pair, families ...failover.Family) (n [2]int, counted bool, err error) {
	for _, family := range families {
		n[family] = 5
	}
	return n, true, f.DeleteFlows(l, pair, families...)
}

// DeleteFlows records whose flows are deleted.
func (f *Flows) DeleteFlows(_ lane.Layout, pair firewall.Pair, families ...failover.Family) error {
	return f.Journal.Note("delete %s flows of %d by %d", strings.Trim(fmt.Sprint(families), "[]"), pair.Uplink, pair.Policy)
}

// DropFlows records whose flows are deleted.
func (f *Flows) DropFlows(_ lane.Layout, uplink lane.Lane, families ...failover.Family) (p firewall.Pokes, err error) {
	if len(families) == 1 {
		return p, f.Journal.Note("drop %s flows of %d", families[0], uplink)
	}
	return p, f.Journal.Note("drop flows of %d", uplink)
}

// DestroySockets records the address and reports one socket.
func (f *Flows) DestroySockets(_ lane.Layout, _ lane.Lane, lost netip.Addr, _ firewall.Spared) (int, error) {
	return 1, f.Journal.Note("destroy sockets on %s", lost)
}

// Revive records whose clients are poked.
func (f *Flows) Revive(_ lane.Layout, uplink lane.Lane, families ...failover.Family) error {
	return f.Journal.Note("revive %s clients of %d", strings.Trim(fmt.Sprint(families), "[]"), uplink)
}

// Poke records whose clients are poked, and reports two in each family.
func (f *Flows) Poke(_ lane.Layout, losses ...firewall.Loss) ([]firewall.Pokes, error) {
	all := make([]firewall.Pokes, len(losses))
	for i, lost := range losses {
		for _, family := range lost.Families {
			all[i].Sent[family] = 2
		}
		families := strings.Trim(fmt.Sprint(lost.Families), "[]")
		if err := f.Journal.Note("poke %s clients of %d by %d", families, lost.Pair.Uplink, lost.Pair.Policy); err != nil {
			return all, err
		}
	}
	return all, nil
}
