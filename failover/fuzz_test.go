package failover_test

import (
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

// FuzzStep turns bytes into events, three bytes each, and checks the invariants.
func FuzzStep(f *testing.F) {
	f.Add([]byte{1, 0, 0, 1, 1, 0, 2, 1, 0, 3, 1, 20, 4, 2, 30, 5, 3, 200})
	f.Add([]byte{1, 0, 0, 2, 1, 0, 3, 1, 20, 1, 4, 255, 6, 0, 1, 7, 1, 2, 8, 2, 3, 9, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := New(DefaultConfig())
		now := Instant(0)
		for ; len(data) >= 3; data = data[3:] {
			now += Instant(data[2]) * Instant(data[2]) * time.Millisecond / 4
			out := e.Step(now, fuzzEvent(data[0], data[1], now))
			if out.Wake <= now {
				t.Fatalf("wake %v is not after %v", out.Wake, now)
			}
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			if len(out.Probes) > 200 {
				t.Fatalf("%d probes in one step", len(out.Probes))
			}
		}
		e.View()
	})
}

// fuzzEvent makes an event from two bytes: its kind, and its subject.
func fuzzEvent(kind, about byte, now Instant) Event {
	name := []string{"fiber", "lte", "nobody"}[int(about)%3]
	family := Family(about >> 2 & 1)
	id := ProbeID(about)
	switch kind % 11 {
	case 1:
		l := simulator.PlainLink(name, int(about>>6))
		l.Present, l.AdminUp, l.Carrier = about&8 == 0, about&16 == 0, about&32 == 0
		return LinkChanged{Uplink: name, Link: l}
	case 2:
		return ProbeSent{ID: id}
	case 3:
		return ProbeAnswered{ID: id, RTT: time.Duration(about>>4) * 10 * time.Millisecond}
	case 4:
		return ProbeNotSent{ID: id}
	case 5:
		return Traffic{Uplink: name, Family: family, Unanswered: now - Instant(about)*time.Millisecond, Received: now}
	case 6:
		return NeighborFailed{Uplink: name, Family: family}
	case 7:
		return Operator{Verb: OperatorVerb(about >> 4 % 3), Uplink: name, Until: now + Instant(about)*time.Second}
	case 8:
		return Adopt{Carrying: map[string][2][]string{"default": {{name}, {name}}}, Lost: map[string][2][]string{"default": {{"fiber"}, nil}}}
	case 10:
		return ProbeFailed{ID: id, Fault: Fault{Cause: "a fault", Portal: about&1 == 0}}
	case 9:
		c := DefaultConfig()
		c.Uplinks = c.Uplinks[:1+about&1]
		c.Failback.Manual = about&2 != 0
		c.Uplinks[0].Enabled = about&4 == 0
		return Configure{Config: c}
	}
	return Tick{}
}
