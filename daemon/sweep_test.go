package daemon

import (
	"testing"

	"swerve/failover"
	"swerve/firewall"
	"swerve/lane"
)

// A deletion for which the worker has no room is made up for at the next check,
// although the count stands still.
func TestSweepWaitsForRoom(t *testing.T) {
	e := &enforcer{worker: newWorker(nil, nil, nil, nil, nil), anew: func() uint64 { return 1 }}
	e.released[failover.IPv4] = []firewall.Pair{{Uplink: 1, Policy: 64}}
	e.released[failover.IPv6] = e.released[failover.IPv4]
	for e.worker.walks.add(heal{}) {
	}
	e.sweep(lane.DefaultLayout)
	for len(e.worker.walks.queue) > 0 {
		<-e.worker.walks.queue
	}
	for range 2 {
		e.sweep(lane.DefaultLayout)
	}
	if n := len(e.worker.walks.queue); n != 1 {
		t.Fatalf("%d deletions wait, want 1", n)
	}
	if s, ok := (<-e.worker.walks.queue).(sweep); !ok || len(s.families) != 2 {
		t.Errorf("waiting: %+v", s)
	}
}
