package config

import (
	"time"

	"swerve/failover"
	"swerve/target"
)

// month is what volumes are counted for: 30 days.
const month = 30 * day

// ProbeVolume estimates the bytes that an uplink's probes and their answers take
// in a month of 30 days, both families and both directions together, when each
// target is probed each interval. Bursts are not in it.
func (u Uplink) ProbeVolume(interval time.Duration) float64 {
	round := 0
	for _, f := range failover.Families {
		for _, t := range u.TargetsIn(f) {
			round += target.WireBytes(t, f)
		}
	}
	return float64(round) * float64(month) / float64(interval)
}
