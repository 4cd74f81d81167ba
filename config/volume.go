package config

import (
	"time"

	"swerve/failover"
	"swerve/target"
)

// month is the period of volumes: 30 days.
const month = 30 * day

// ProbeVolume estimates the bytes that an uplink's probes and their answers use in
// a month of 30 days if each target is probed once per interval. It covers both
// families and both directions, and excludes bursts.
func (u Uplink) ProbeVolume(interval time.Duration) float64 {
	round := 0
	for _, f := range failover.Families {
		for _, t := range u.TargetsIn(f) {
			round += target.WireBytes(t, f)
		}
	}
	return float64(round) * float64(month) / float64(interval)
}
