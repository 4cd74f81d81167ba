package linkmon

import (
	"reflect"
	"testing"

	"swerve/failover"
)

func changed(uplink string, index int) failover.Event {
	return failover.LinkChanged{Uplink: uplink, Link: failover.Link{Index: index}}
}

func TestOutboxOrder(t *testing.T) {
	out := newOutbox()
	failedA := failover.NeighborFailed{Uplink: "a", Family: failover.IPv4}
	failedB := failover.NeighborFailed{Uplink: "b", Family: failover.IPv6}
	for _, o := range []Observation{
		{5, failover.ProbeSent{ID: 1}},
		{9, changed("b", 1)},
		{3, failover.ProbeSent{ID: 2}},
		{5, failover.ProbeAnswered{ID: 1, RTT: 1}},
		{2, failedB},
		{5, changed("a", 1)},
		{4, changed("b", 2)}, // newest wins
		{5, failedA},
		{5, failedB},
	} {
		out.put(o)
	}
	want := []Observation{
		{3, failover.ProbeSent{ID: 2}},
		{4, changed("b", 2)},
		{5, changed("a", 1)},
		{5, failedA},
		{5, failedB},
		{5, failover.ProbeSent{ID: 1}},
		{5, failover.ProbeAnswered{ID: 1, RTT: 1}},
	}
	if got := out.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if again := out.take(); len(again) != 0 {
		t.Errorf("taken twice: %v", again)
	}
}

func TestOutboxForgets(t *testing.T) {
	out := newOutbox()
	out.put(Observation{1, changed("a", 1)})
	out.put(Observation{1, changed("b", 1)})
	out.put(Observation{1, failover.NeighborFailed{Uplink: "a", Family: failover.IPv6}})
	out.forget("a")
	if got := out.take(); !reflect.DeepEqual(got, []Observation{{1, changed("b", 1)}}) {
		t.Errorf("got %v, want b alone", got)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	out := newOutbox()
	for i := range outboxLimit + 3 {
		out.put(Observation{At: failover.Instant(i), Event: failover.ProbeSent{ID: failover.ProbeID(i + 1)}})
		out.put(Observation{At: failover.Instant(i), Event: changed("a", i)})
	}
	got := out.take()
	if len(got) != outboxLimit+1 || out.droppedCount() != 3 {
		t.Errorf("took %d and dropped %d; want %d and 3", len(got), out.droppedCount(), outboxLimit+1)
	}
	if last := got[len(got)-1].Event; !reflect.DeepEqual(last, changed("a", outboxLimit+2)) {
		t.Errorf("the link's newest state is lost; the last is %v", last)
	}
}

func TestOutboxSignals(t *testing.T) {
	out := newOutbox()
	if drain(out.ready) {
		t.Error("ready at the start")
	}
	out.put(Observation{1, changed("a", 1)})
	out.put(Observation{2, changed("a", 2)})
	if !drain(out.ready) || drain(out.ready) {
		t.Error("two things to take make one token")
	}
}
