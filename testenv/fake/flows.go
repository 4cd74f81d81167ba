package fake

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// Flows notes what is asked of it.
type Flows struct{ Journal *Journal }

// Heal notes it, and says that three flows were healed.
func (f *Flows) Heal(firewall.Goal) (int, error) { return 3, f.Journal.Note("heal flows") }

// Grace notes the interfaces.
func (f *Flows) Grace(interfaces []string) error {
	return f.Journal.Note("grace %s", strings.Join(interfaces, " "))
}

// Hold notes the interfaces.
func (f *Flows) Hold(interfaces []string, _ time.Duration) error {
	return f.Journal.Note("hold %s", strings.Join(interfaces, " "))
}

// DeleteFlows notes whose.
func (f *Flows) DeleteFlows(_ lane.Layout, pair firewall.Pair, families ...failover.Family) error {
	return f.Journal.Note("delete %s flows of %d by %d", strings.Trim(fmt.Sprint(families), "[]"), pair.Uplink, pair.Policy)
}

// DestroySockets notes the address, and says that there was one.
func (f *Flows) DestroySockets(_ lane.Layout, _ lane.Lane, lost netip.Addr) (int, error) {
	return 1, f.Journal.Note("destroy sockets on %s", lost)
}
