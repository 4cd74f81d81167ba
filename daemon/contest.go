package daemon

import (
	"fmt"
	"slices"
	"time"

	"swerve/control"
	"swerve/failover"
)

// So many repairs within contestSpan mean that another program undoes ours. A person
// who loads a ruleset anew makes fewer.
const (
	contestCount = 6
	contestSpan  = time.Minute
)

// contests are the latest repairs, at most contestCount of them, the newest last.
type contests struct {
	at []failover.Instant
	// what was repaired last.
	what string
}

// with returns the contests after one more repair.
func (c contests) with(now failover.Instant, what string) contests {
	at := append(slices.Clone(c.at), now)
	return contests{at: at[max(0, len(at)-contestCount):], what: what}
}

// problems returns the problem of a program that undoes repairs; it stands until there
// were fewer for contestSpan.
func (c contests) problems(now failover.Instant, clock control.Clock) []control.Problem {
	if len(c.at) < contestCount || now-c.at[0] > contestSpan {
		return nil
	}
	return []control.Problem{{
		Code: "contested", Severity: control.Warning, Object: "kernel", Since: control.At(clock(c.at[0])),
		Text: fmt.Sprintf("another program keeps removing what is Swerve's: %d repairs in %v, the last: %s",
			contestCount, (c.at[contestCount-1] - c.at[0]).Round(100*time.Millisecond), c.what),
		Remedy: "find out what removes it (nft monitor, ip monitor route rule), and have it leave table inet swerve and protocol 83 alone; " +
			fmt.Sprintf("Swerve repairs at growing intervals, up to %v", repairMost),
	}}
}
