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
		{At: 5, Event: failover.ProbeSent{ID: 1}},
		{At: 9, Event: changed("b", 1)},
		{At: 3, Event: failover.ProbeSent{ID: 2}},
		{At: 5, Event: failover.ProbeAnswered{ID: 1, RTT: 1}},
		{At: 2, Event: failedB},
		{At: 5, Event: changed("a", 1)},
		{At: 4, Event: changed("b", 2)}, // newest wins
		{At: 5, Event: failedA},
		{At: 5, Event: failedB},
	} {
		out.put(o)
	}
	want := []Observation{
		{At: 3, Event: failover.ProbeSent{ID: 2}},
		{At: 4, Event: changed("b", 2)},
		{At: 5, Event: changed("a", 1)},
		{At: 5, Event: failedA},
		{At: 5, Event: failedB},
		{At: 5, Event: failover.ProbeSent{ID: 1}},
		{At: 5, Event: failover.ProbeAnswered{ID: 1, RTT: 1}},
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
	out.put(Observation{At: 1, Event: changed("a", 1)})
	out.put(Observation{At: 1, Event: changed("b", 1)})
	out.put(Observation{At: 1, Event: failover.NeighborFailed{Uplink: "a", Family: failover.IPv6}})
	out.forget("a")
	if got := out.take(); !reflect.DeepEqual(got, []Observation{{At: 1, Event: changed("b", 1)}}) {
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
	out.put(Observation{At: 1, Event: changed("a", 1)})
	out.put(Observation{At: 2, Event: changed("a", 2)})
	if !drain(out.ready) || drain(out.ready) {
		t.Error("two things to take make one token")
	}
}

// A link that lost an address in between is reported so, also where its later state
// replaces one that was not taken yet.
func TestPurgedIsKept(t *testing.T) {
	b := newOutbox()
	for i, purged := range []bool{false, true, false} {
		b.put(Observation{At: failover.Instant(i), Event: failover.LinkChanged{Uplink: "fiber"}, Purged: purged})
	}
	if all := b.take(); len(all) != 1 || !all[0].Purged || all[0].At != 2 {
		t.Errorf("taken: %+v", all)
	}
	b.put(Observation{At: 3, Event: failover.LinkChanged{Uplink: "fiber"}})
	if all := b.take(); len(all) != 1 || all[0].Purged {
		t.Errorf("taken later: %+v", all)
	}
}
