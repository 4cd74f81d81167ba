package traffic_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"swerve/testenv/lab"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ms = time.Millisecond

var servers = []netip.Addr{lab.Server4, lab.Server6}

func stage(t testing.TB) (*lab.Lab, *traffic.Server) {
	t.Helper()
	l := lab.NewTest(t, lab.Options{Uplinks: 1, Firewall: lab.FirewallMasquerade})
	s, err := traffic.Serve(l.Internet, servers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return l, s
}

func begin(t testing.TB, l *lab.Lab, kind traffic.Kind, to netip.Addr) *traffic.Client {
	t.Helper()
	return beginPatiently(t, l, kind, to, 0)
}

func beginPatiently(t testing.TB, l *lab.Lab, kind traffic.Kind, to netip.Addr, timeout time.Duration) *traffic.Client {
	t.Helper()
	c, err := traffic.Start(l.Client, kind, to, traffic.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// answers waits until the latest n requests have been answered.
func answers(t testing.TB, c *traffic.Client, n int) {
	t.Helper()
	wait.For(t, fmt.Sprintf("answers to %s", c.Kind), func() bool {
		row := 0
		for _, r := range c.Log() {
			if !r.Answered.IsZero() {
				row++
			} else if r.Err != "" {
				row = 0
			}
		}
		return row >= n
	})
}

func TestEveryKindInBothFamilies(t *testing.T) {
	l, server := stage(t)
	up := l.Uplinks[0]
	for _, to := range servers {
		for _, kind := range []traffic.Kind{traffic.UDPSessions, traffic.UDPStream, traffic.TCPStream, traffic.TCPSessions, traffic.TCPListen, traffic.TCPDownload} {
			t.Run(fmt.Sprintf("%s to %s", kind, to), func(t *testing.T) {
				// This process may not run for a second, on a machine that is busy with others.
				c := beginPatiently(t, l, kind, to, 20*time.Second)
				answers(t, c, 50)
				c.Stop()
				c.Stop() // harmless
				checkLog(t, c, map[bool]netip.Addr{true: up.Address4, false: up.Address6}[to.Is4()])
				if r := server.Received(c.Stream()); r.Count < 50 || len(r.Sources) != 1 {
					t.Errorf("the server recorded %+v", r)
				}
			})
		}
	}
}

// checkLog checks the requests of an undisturbed run.
func checkLog(t *testing.T, c *traffic.Client, via netip.Addr) {
	t.Helper()
	log := c.Log()
	connected := slices.IndexFunc(log, func(r traffic.Request) bool { return !r.Answered.IsZero() })
	for i, r := range log {
		if r.Seq != uint64(i) || r.Sent.Before(r.Due) {
			t.Fatalf("request %d is %+v", i, r)
		}
		if i > 0 && r.Due.Sub(log[i-1].Due).Round(ms) != 10*ms {
			t.Fatalf("request %d is due %v after the one before", i, r.Due.Sub(log[i-1].Due))
		}
		switch {
		case r.Err == "" && r.Answered.IsZero():
			t.Errorf("the result of request %d is unknown after Stop: %+v", i, r)
		case r.Err == "not connected" && strings.HasPrefix(string(c.Kind), "tcp-") && i < connected: // the first dial takes a while
		case r.Err != "":
			t.Errorf("request %d: %s", i, r.Err)
		case r.Answered.Sub(r.Sent) < 20*ms || r.Via != via:
			t.Errorf("request %d took %v, by %v; want 20 ms, by %v", i, r.Answered.Sub(r.Sent), r.Via, via)
		}
	}
}

func TestABlackHoleInterruptsNewSessions(t *testing.T) {
	l, _ := stage(t)
	for _, to := range servers {
		c := begin(t, l, traffic.UDPSessions, to)
		answers(t, c, 10)
		f, err := l.Fault(0, "black-hole")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * ms)
		over := time.Now()
		if err := f.Undo(); err != nil {
			t.Fatal(err)
		}
		o := c.Measure(f.Onset, over.Add(500*ms))
		// On a busy machine the client is late, and the bounds are wider.
		least, most := over.Sub(f.Onset)-50*ms-o.Lateness, over.Sub(f.Onset)+400*ms+o.Lateness
		if !o.Over || o.Interruption < least || o.Interruption > most || o.Unanswered == 0 {
			t.Errorf("to %s, cut for %v: %v", to, over.Sub(f.Onset), o)
		}
		c.Stop()
	}
}

func TestAStallIsSlowButInterruptsNothing(t *testing.T) {
	l, _ := stage(t)
	c := begin(t, l, traffic.UDPStream, lab.Server4)
	answers(t, c, 10)
	f, err := l.Fault(0, "stall=200ms")
	if err != nil {
		t.Fatal(err)
	}
	o := c.Measure(f.Onset, f.Onset.Add(400*ms))
	if o.Unanswered != 0 || o.Interruption != 0 || o.SlowestReply < 190*ms {
		t.Errorf("a stall of 200 ms: %v, slowest reply after %v", o, o.SlowestReply)
	}
}

func TestAResetBreaksTheStreamAndItDialsAgain(t *testing.T) {
	for _, to := range servers {
		t.Run(to.String(), func(t *testing.T) {
			l, _ := stage(t)
			c := begin(t, l, traffic.TCPStream, to)
			answers(t, c, 10)
			verdict := time.Now()

			shell(t, l, "nft insert rule inet lab forward meta l4proto tcp ct state established reject with tcp reset")
			wait.For(t, "the stream to break", func() bool { return len(c.Breaks()) > 0 })
			shell(t, l, "nft flush chain inet lab forward")
			answers(t, c, 10)
			checkBreak(t, c.Breaks()[0], verdict)
			last := c.Breaks()[len(c.Breaks())-1]
			if last.Redialled.Before(last.At) || last.Dials < 1 {
				t.Errorf("it broke at %v and was dialled %d times, with success at %v", last.At, last.Dials, last.Redialled)
			}
		})
	}
}

func shell(t *testing.T, l *lab.Lab, command string) {
	t.Helper()
	if _, err := l.Gateway.Run("sh", "-c", command); err != nil {
		t.Fatal(err)
	}
}

func checkBreak(t *testing.T, b traffic.Break, verdict time.Time) {
	t.Helper()
	if b.Reset.IsZero() || b.At.Before(b.Reset) {
		t.Errorf("the reset came at %v, the application had it at %v (%s)", b.Reset, b.At, b.Err)
	}
	delay, ok := b.ResetDelay(verdict)
	if !ok || delay < 0 || delay > time.Second {
		t.Errorf("the reset came %v (%v) after the first segment that followed the rule", delay, ok)
	}
	if b.LastSent().Before(verdict) {
		t.Errorf("the last segment left at %v, before the rule at %v", b.LastSent(), verdict)
	}
}

func TestBulkProvesThatNothingIsLost(t *testing.T) {
	l, server := stage(t)
	for _, to := range servers {
		b, err := traffic.StartBulk(l.Client, to, 2000)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * ms)
		b.Stop()
		wait.For(t, "all packets to arrive", func() bool { return server.Received(b.Stream()).Count == b.Sent() })
		if r := server.Received(b.Stream()); len(r.Missing) != 0 || r.Next != b.Sent() || b.Sent() < 800 || b.Refused() != 0 {
			t.Errorf("sent %d (%d refused), the server has %+v", b.Sent(), b.Refused(), r)
		}
	}
}

func TestBulkTellsWhatIsLost(t *testing.T) {
	l, server := stage(t)
	if _, err := l.Fault(0, "loss-out=20%"); err != nil {
		t.Fatal(err)
	}
	b, err := traffic.StartBulk(l.Client, lab.Server4, 2000)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * ms)
	b.Stop()
	time.Sleep(100 * ms)
	r := server.Received(b.Stream())
	missing := b.Sent() - r.Next
	for _, m := range r.Missing {
		missing += m.Last - m.First + 1
	}
	if r.Count+missing != b.Sent() || missing == 0 || r.Count == 0 {
		t.Errorf("sent %d; %d arrived, %d are missing", b.Sent(), r.Count, missing)
	}
}
