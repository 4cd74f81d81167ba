package linkmon

import (
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"swerve/failover"
	"swerve/lane"
	"swerve/target"
	"swerve/testenv/netns"
)

// Probes open their sockets on any thread, so a process that probes is in its
// namespace as a whole. These tests therefore start their own binary once more,
// inside, as a child that only sends the probes it is ordered to and reports.

// childEnv makes the test binary such a child.
const childEnv = "LINKMON_TEST_CHILD"

// order is what a child reads.
type order struct {
	Probe failover.Probe
	Path  Path
}

// report is what a child writes.
type report struct {
	At failover.Instant
	// Kind is "sent", "not sent", "answered", "failed" or "over", which comes last.
	Kind  string
	ID    failover.ProbeID
	RTT   time.Duration
	Cause string
	Raw   [2]bool
}

// childMain sends what standard input orders until its end.
func childMain() int {
	out := newOutbox()
	clock := clockFrom(time.Now())
	chooser, err := openChooser()
	if err != nil {
		panic(err)
	}
	echo := newICMP(clock, chooser)
	methods := newMethods(clock, chooser)
	methods[target.ICMP], methods[target.Gateway] = echo.probe, echo.probe
	p := newProber(clock, out, notOwn, methods)
	reports := gob.NewEncoder(os.Stdout)
	finished := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(finished)
		writeReports(ctx, out, reports)
	}()
	orders := gob.NewDecoder(os.Stdin)
	for {
		var o order
		if err := orders.Decode(&o); err == io.EOF {
			break
		} else if err != nil {
			panic(err)
		}
		p.send(o.Probe, o.Path)
	}
	p.close()
	chooser.close()
	cancel()
	<-finished
	over := report{Kind: "over", Raw: [2]bool{echo.raw[0].Load(), echo.raw[1].Load()}}
	if err := goleak.Find(); err != nil {
		over.Cause = err.Error()
	}
	reports.Encode(over)
	return 0
}

func writeReports(ctx context.Context, out *outbox, w *gob.Encoder) {
	for ctx.Err() == nil {
		select {
		case <-out.ready:
		case <-ctx.Done():
		}
		for _, o := range out.take() {
			r := report{At: o.At}
			switch e := o.Event.(type) {
			case failover.ProbeSent:
				r.Kind, r.ID = "sent", e.ID
			case failover.ProbeNotSent:
				r.Kind, r.ID, r.Cause = "not sent", e.ID, e.Cause
			case failover.ProbeAnswered:
				r.Kind, r.ID, r.RTT = "answered", e.ID, e.RTT
			case failover.ProbeFailed:
				r.Kind, r.ID, r.Cause = "failed", e.ID, e.Fault.Cause
			}
			w.Encode(r)
		}
	}
}

// child is such a process, as its test sees it.
type child struct {
	t       *testing.T
	input   io.WriteCloser
	orders  *gob.Encoder
	reports chan report
	seen    map[failover.ProbeID][]report
	last    failover.ProbeID
}

func startChild(t *testing.T, ns *netns.NS) *child {
	t.Helper()
	cmd := ns.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "GORACE=atexit_sleep_ms=50")
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, input: input, orders: gob.NewEncoder(input), reports: make(chan report, 10000), seen: map[failover.ProbeID][]report{}}
	go c.read(output)
	t.Cleanup(func() {
		input.Close()
		for range c.reports {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	return c
}

func (c *child) read(output io.Reader) {
	defer close(c.reports)
	for d := gob.NewDecoder(output); ; {
		var r report
		if err := d.Decode(&r); err != nil {
			return
		}
		c.reports <- r
	}
}

// send has the child send a probe and returns its number.
func (c *child) send(f failover.Family, target string, path Path) failover.ProbeID {
	c.t.Helper()
	c.last++
	o := order{Probe: failover.Probe{ID: c.last, Uplink: path.Link.Interface, Family: f, Target: target}, Path: path.to(target)}
	if err := c.orders.Encode(o); err != nil {
		c.t.Fatal(err)
	}
	return c.last
}

// outcome waits for a probe's n-th report.
func (c *child) outcome(id failover.ProbeID, n int) report {
	c.t.Helper()
	deadline := time.After(10 * time.Second)
	for len(c.seen[id]) < n {
		select {
		case r, open := <-c.reports:
			if !open {
				c.t.Fatalf("the child has ended; probe %d came to %+v", id, c.seen[id])
			}
			c.seen[r.ID] = append(c.seen[r.ID], r)
		case <-deadline:
			c.t.Fatalf("no report %d of probe %d; so far %+v", n, id, c.seen[id])
		}
	}
	return c.seen[id][n-1]
}

// answered sends a probe and wants it to be answered.
func (c *child) answered(f failover.Family, target string, path Path) {
	c.t.Helper()
	id := c.send(f, target, path)
	if r := c.outcome(id, 1); r.Kind != "sent" {
		c.t.Fatalf("%s by %s: %+v, want it sent", target, path.Link.Interface, r)
	}
	if r := c.outcome(id, 2); r.Kind != "answered" || r.RTT <= 0 || r.RTT > 5*time.Second {
		c.t.Fatalf("%s by %s: %+v, want it answered", target, path.Link.Interface, r)
	}
}

// refused sends a probe, wants it not to be sent, and returns the cause.
func (c *child) refused(f failover.Family, target string, path Path) string {
	c.t.Helper()
	r := c.outcome(c.send(f, target, path), 1)
	if r.Kind != "not sent" || r.Cause == "" {
		c.t.Fatalf("%s by %s: %+v, want it not sent, with a cause", target, path.Link.Interface, r)
	}
	return r.Cause
}

// end ends the child and returns its last report, with all probes' in seen.
func (c *child) end() report {
	c.t.Helper()
	c.input.Close()
	deadline := time.After(10 * time.Second)
	var last report
	for {
		select {
		case r, open := <-c.reports:
			if !open {
				return last
			}
			c.seen[r.ID] = append(c.seen[r.ID], r)
			last = r
		case <-deadline:
			c.t.Fatal("the child does not end")
		}
	}
}

// pathBy is the path by one of wan's links, without a target, with the mark of lane n+1.
func pathBy(n int) Path {
	link := failover.Link{Interface: fmt.Sprintf("w%d", n), Present: true, AdminUp: true, Carrier: true}
	link.Family[0] = failover.FamilyLink{
		Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.2/24", n))},
		Gateway:   netip.MustParseAddr(fmt.Sprintf("10.%d.0.1", n)),
	}
	link.Family[1] = failover.FamilyLink{
		Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::2/64", n))},
		Gateway:   netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", n)),
	}
	return Path{Link: link, Mark: lane.DefaultLayout.Mark(lane.Lane(n + 1)), LostAfter: time.Second}
}
