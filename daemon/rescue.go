package daemon

import (
	"swerve/failover"
	"swerve/firewall"
)

// rescue is how the packet filter rescues addresses that an uplink does not reach.
func (s setup) rescue() firewall.Rescue {
	if r := s.cfg.Rescue; r.Enabled {
		return firewall.Rescue{Addresses: uint32(r.Addresses), For: r.For}
	}
	return firewall.Rescue{}
}

// detour is the pair of uplinks of a ladder between which addresses are rescued; none where
// the next one is metered and that is not asked for.
func (s setup) detour(l failover.Ladder) firewall.Detour {
	if !s.cfg.Rescue.Enabled || l.Spare == "" || l.Blocked {
		return firewall.Detour{}
	}
	for _, u := range s.uplinks {
		if u.Name == l.Spare && u.IsMetered() && !s.cfg.Rescue.Metered {
			return firewall.Detour{}
		}
	}
	return firewall.Detour{From: s.lanes.Uplinks[l.Rungs[0].Shares[0].Uplink], To: s.lanes.Uplinks[l.Spare]}
}
