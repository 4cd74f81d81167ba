package linkmon

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// TestTrafficThatIsNotAnswered has questions and answers pass an uplink until the
// answers stay away.
func TestTrafficThatIsNotAnswered(t *testing.T) {
	ns, isps := wan(t)
	server, err := isps[0].ListenPacket("udp", "10.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	var silent atomic.Bool
	var answers atomic.Int64
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if !silent.Load() {
				_, _ = server.WriteTo(buf[:n], from) // a lost answer is none
				answers.Add(1)
			}
		}
	}()
	client, err := ns.DialUDP(netip.MustParseAddrPort("10.0.0.1:7"))
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-stopped
		client.Close()
		server.Close()
	})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_, _ = client.Write([]byte("question")) // refused where the server is gone
			}
		}
	}()
	o := observe(t, ns, uplink("fiber", "w0"), uplink("lte", "w1"))
	waitFor(t, "traffic", func() bool { return answers.Load() > 500 })
	o.take()
	o.seen = nil
	silent.Store(true)
	hinted := map[failover.Family]failover.Traffic{}
	o.until("a hint in both families", func() bool {
		for _, seen := range o.seen {
			event, ok := seen.Event.(failover.Traffic)
			switch {
			case !ok:
			case event.Uplink != "fiber":
				t.Fatalf("a hint for %s, where nothing passes", event.Uplink)
			case seen.At-event.Unanswered < waits*leastWait || seen.At-event.Unanswered > time.Second:
				t.Fatalf("at %v a hint that nothing came since %v", seen.At, event.Unanswered)
			default:
				hinted[event.Family] = event
			}
		}
		return len(hinted) == len(failover.Families)
	})
}

// TestManyInterfaces has a table of counters that is longer than what is read at
// first.
func TestManyInterfaces(t *testing.T) {
	ns, _ := wan(t)
	const pairs = 100
	for i := range pairs {
		if err := netns.Veth(ns, fmt.Sprintf("a%d", i), ns, fmt.Sprintf("b%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	var tr *traffic
	err := ns.Do(func() error {
		tr = openTraffic(Options{Clock: clockFrom(time.Now())}, nil, newOutbox())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	for range 2 { // the second time without growing
		table, err := tr.read()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"lo", "w0", "w1", "a0", fmt.Sprintf("b%d", pairs-1)} {
			if _, ok := packetsOf(table, name); !ok {
				t.Fatalf("%s is not among the counters:\n%s", name, table)
			}
		}
	}
}
