package linkmon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"swerve/failover"
	"swerve/target"
)

// scriptedMethod sends nothing: a script says for each destination what happens, at
// which age of the request.
type scriptedMethod map[netip.Addr][]scripted

// scripted is one thing that happens to a request.
type scripted struct {
	after time.Duration
	// from sends an answer; invalid: the request is sent, or refused with err.
	from netip.Addr
	err  error
}

var errUnreachable = errors.New("network is unreachable")

func (s scriptedMethod) probe(clock func() failover.Instant) method {
	return func(_ context.Context, r request, report func(outcome)) {
		began := time.Now()
		for _, step := range s[r.to] {
			time.Sleep(time.Until(began.Add(step.after)))
			switch {
			case step.err != nil:
				report(outcome{kind: probeRefused, at: clock(), cause: step.err})
			case step.from.IsValid():
				report(outcome{kind: probeAnswered, at: clock(), by: step.from})
			default:
				report(outcome{kind: probeSent, at: clock()})
			}
		}
	}
}

// newTestProber is a prober with one method, for addresses.
func newTestProber(clock func() failover.Instant, out *outbox, m method) *prober {
	return newProber(clock, out, notOwn, map[target.Method]method{target.ICMP: m})
}

// to is a path with a target.
func (p Path) to(text string) Path {
	p.Target = parsed(text)
	return p
}

func parsed(text string) target.Target {
	t, err := target.Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}

// outcomes runs probes over scripts in a bubble whose clock only these scripts
// move, and returns what is taken when all is over, as text.
func outcomes(t *testing.T, scripts scriptedMethod, targets ...string) (got []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		out := newOutbox()
		clock := clockFrom(time.Now())
		p := newTestProber(clock, out, scripts.probe(clock))
		for i, target := range targets {
			p.send(failover.Probe{ID: failover.ProbeID(i + 1), Target: target}, pathBy(0).to(target))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		p.close()
		got = observed(out.take())
	})
	return got
}

func observed(all []Observation) (lines []string) {
	for _, o := range all {
		lines = append(lines, fmt.Sprintf("%v %T %v", o.At, o.Event, o.Event))
	}
	return lines
}

func TestProbeOutcomes(t *testing.T) {
	const ms = time.Millisecond
	one, two := addr("192.0.2.1"), addr("192.0.2.2")
	for _, tc := range []struct {
		name    string
		scripts scriptedMethod
		want    []string
	}{
		{"answered", scriptedMethod{one: {{after: ms}, {after: 21 * ms, from: one}}},
			[]string{"1ms failover.ProbeSent {1}", "21ms failover.ProbeAnswered {1 20ms}"}},
		{"answered at once", scriptedMethod{one: {{}, {from: one}}},
			[]string{"0s failover.ProbeSent {1}", "0s failover.ProbeAnswered {1 1ns}"}},
		{"never answered", scriptedMethod{one: {{after: ms}}},
			[]string{"1ms failover.ProbeSent {1}"}},
		{"late", scriptedMethod{one: {{}, {after: 1400 * ms, from: one}}},
			[]string{"0s failover.ProbeSent {1}", "1.4s failover.ProbeAnswered {1 1.4s}"}},
		{"duplicate", scriptedMethod{one: {{}, {after: ms, from: one}, {after: 2 * ms, from: one}}},
			[]string{"0s failover.ProbeSent {1}", "1ms failover.ProbeAnswered {1 1ms}"}},
		{"foreign", scriptedMethod{one: {{}, {after: ms, from: two}}},
			[]string{"0s failover.ProbeSent {1}"}},
		{"foreign, then true", scriptedMethod{one: {{}, {after: ms, from: two}, {after: 5 * ms, from: one}}},
			[]string{"0s failover.ProbeSent {1}", "5ms failover.ProbeAnswered {1 5ms}"}},
		{"answered before it was sent", scriptedMethod{one: {{from: one}, {after: ms}}},
			[]string{"1ms failover.ProbeSent {1}"}},
		{"not sent", scriptedMethod{one: {{after: ms, err: errUnreachable}}},
			[]string{"1ms failover.ProbeNotSent {1 network is unreachable }"}},
		{"fails after sending", scriptedMethod{one: {{}, {after: ms, err: errUnreachable}}},
			[]string{"0s failover.ProbeSent {1}"}},
		{"ends without an outcome", scriptedMethod{},
			[]string{"0s failover.ProbeNotSent {1 the sender gave up }"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := outcomes(t, tc.scripts, one.String()); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// Answers that come in another order than their requests left keep their numbers.
func TestReorderedAnswers(t *testing.T) {
	const ms = time.Millisecond
	one, two := addr("192.0.2.1"), addr("192.0.2.2")
	got := outcomes(t, scriptedMethod{
		one: {{after: 1 * ms}, {after: 30 * ms, from: one}},
		two: {{after: 2 * ms}, {after: 10 * ms, from: two}},
	}, one.String(), two.String())
	want := []string{
		"1ms failover.ProbeSent {1}", "2ms failover.ProbeSent {2}",
		"10ms failover.ProbeAnswered {2 8ms}", "30ms failover.ProbeAnswered {1 29ms}",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// held is a method that sends at once and is answered when release is closed.
func held(clock func() failover.Instant, release <-chan struct{}) method {
	return func(ctx context.Context, r request, report func(outcome)) {
		report(outcome{kind: probeSent, at: clock()})
		select {
		case <-release:
			report(outcome{kind: probeAnswered, at: clock(), by: r.to})
		case <-ctx.Done():
		}
	}
}

func TestTooManyProbes(t *testing.T) {
	out := newOutbox()
	clock := clockFrom(time.Now())
	release := make(chan struct{})
	p := newTestProber(clock, out, held(clock, release))
	underWay := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.inFlight
	}
	send := func() string {
		p.send(failover.Probe{ID: 1, Target: "192.0.2.1"}, pathBy(0).to("192.0.2.1"))
		waitFor(t, "an outcome", func() bool { return drain(out.ready) })
		return fmt.Sprintf("%+v", out.take()[0].Event)
	}
	for i := range crowded {
		if got := send(); got != "{ID:1}" || underWay() != i+1 {
			t.Fatalf("probe %d came to %s with %d under way", i+1, got, underWay())
		}
	}
	if got := send(); got != "{ID:1 Cause:too many probes in flight Errno:}" {
		t.Errorf("one too many came to %s", got)
	}
	close(release)
	waitFor(t, "all to be over", func() bool { return underWay() == 0 })
	if n := len(out.take()); n != crowded {
		t.Errorf("%d answers, want %d", n, crowded)
	}
	drain(out.ready)
	if got := send(); got != "{ID:1}" {
		t.Errorf("a probe when there is room came to %s", got)
	}
	p.close()
	out.take()
	drain(out.ready)
	if got := send(); got != "{ID:1 Cause:probing has ended Errno:}" {
		t.Errorf("a probe after the end came to %s", got)
	}
}

// Uplinks whose probes all wait for answers leave room for those of another one, as
// many as there may be.
func TestProbesInFlightAreShared(t *testing.T) {
	out := newOutbox()
	clock := clockFrom(time.Now())
	release := make(chan struct{})
	p := newTestProber(clock, out, held(clock, release))
	refused := func(uplink string, n int) (count int) {
		for range n {
			if err := p.begin(uplink); err != nil {
				count++
			}
		}
		return count
	}
	for i := range 71 {
		if n := refused(fmt.Sprintf("dead%d", i), 100); n > 100-uplinkShare {
			t.Fatalf("dead%d has only %d of its share", i, 100-n)
		}
	}
	if n := refused("healthy", uplinkShare); n > 0 {
		t.Errorf("%d probes of a healthy uplink are refused", n)
	}
	if p.inFlight > maxInFlight {
		t.Errorf("%d probes in flight", p.inFlight)
	}
	for i := range 71 {
		for name := fmt.Sprintf("dead%d", i); p.of[name] > 0; {
			p.end(name)
		}
	}
	for range uplinkShare {
		p.end("healthy")
	}
	if p.inFlight != 0 || len(p.of) != 0 {
		t.Errorf("%d are still counted, of %v", p.inFlight, p.of)
	}
	close(release)
	p.close()
}

// Closing ends the probes in flight, which have no further outcome.
func TestCloseEndsProbes(t *testing.T) {
	out := newOutbox()
	clock := clockFrom(time.Now())
	p := newTestProber(clock, out, held(clock, nil))
	for range 10 {
		p.send(failover.Probe{ID: 1, Target: "192.0.2.1"}, pathBy(0).to("192.0.2.1"))
	}
	var got []Observation
	waitFor(t, "the sendings", func() bool {
		got = append(got, out.take()...)
		return len(got) >= 10
	})
	p.close()
	if got = append(got, out.take()...); len(got) != 10 || p.inFlight != 0 {
		t.Errorf("%d outcomes and %d under way after the end, want 10 and none", len(got), p.inFlight)
	}
}

func TestRequest(t *testing.T) {
	path := func(change func(*failover.Link)) Path {
		p := pathBy(0)
		change(&p.Link)
		return p
	}
	asIs := func(*failover.Link) {}
	v4, v6 := failover.IPv4, failover.IPv6
	for _, tc := range []struct {
		name, target string
		family       failover.Family
		change       func(*failover.Link)
		to, cause    string
	}{
		{"address", "192.0.2.1", v4, asIs, "192.0.2.1", ""},
		{"address of IPv6", "2001:db8::9", v6, asIs, "2001:db8::9", ""},
		{"gateway", "gateway", v4, asIs, "10.0.0.1", ""},
		{"gateway of IPv6", "gateway", v6, asIs, "2001:db8::1", ""},
		{"link-local gateway", "gateway", v6, func(l *failover.Link) { l.Family[1].Gateway = addr("fe80::1") }, "fe80::1%w0", ""},
		{"the other family", "192.0.2.1", v6, asIs, "", "192.0.2.1 is no ipv6 address"},
		{"address and port of IPv6", "tcp://[2001:db8::9]:443", v6, asIs, "2001:db8::9", ""},
		{"unknown gateway", "gateway", v4, func(l *failover.Link) { l.Family[0].Gateway = netip.Addr{} }, "", "the ipv4 gateway is unknown"},
		{"no gateway to be had", "gateway", v4, func(l *failover.Link) { l.Family[0].PointToPoint = true }, "", "no gateway on a point-to-point link"},
		{"no address", "2001:db8::9", v6, func(l *failover.Link) { l.Family[1].Addresses = nil }, "", "the interface has no ipv6 address"},
		{"missing", "192.0.2.1", v4, func(l *failover.Link) { *l = failover.Link{} }, "", "missing"},
		{"off", "192.0.2.1", v4, func(l *failover.Link) { l.AdminUp, l.Carrier = false, false }, "", "switched off"},
		{"no carrier", "192.0.2.1", v4, func(l *failover.Link) { l.Carrier = false }, "", "no carrier"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := newRequest(tc.family, path(tc.change).to(tc.target))
			if tc.cause != "" {
				if err == nil || !strings.Contains(err.Error(), tc.cause) {
					t.Errorf("got %+v, %v; want an error with %q", r, err, tc.cause)
				}
				return
			}
			want := request{target: parsed(tc.target), source: addr([2]string{"10.0.0.2", "2001:db8::2"}[tc.family]),
				device: "w0", mark: 1 << 24, wait: time.Second + lateAnswers, sources: path(tc.change).Link.Family[tc.family].Addresses}
			if tc.to != "" {
				want.to = addr(tc.to)
			}
			if tc.name == "address" {
				want.via = addr("10.0.0.1")
			}
			if err != nil || !reflect.DeepEqual(r, want) {
				t.Errorf("got %+v, %v; want %+v", r, err, want)
			}
		})
	}
}

func TestKernelRelease(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-30-amd64": false, "5.17.99": false, "5.18.0": true, "6.1.0-18-amd64": true, "6.12.38+deb13-amd64": true,
		"4.19": false, "10.0-rc1": true, "": false, "six": false,
	} {
		if got := atLeast(release, 5, 18); got != want {
			t.Errorf("%q is at least 5.18: %v, want %v", release, got, want)
		}
	}
}

// Observations of many probes at once are taken in order, each exactly once.
func TestManyProbesAtOnce(t *testing.T) {
	one := addr("192.0.2.1")
	out := newOutbox()
	clock := clockFrom(time.Now())
	p := newTestProber(clock, out, scriptedMethod{one: {{}, {after: 2 * time.Millisecond, from: one}}}.probe(clock))
	const probes = 400
	sent, answered := 0, 0
	seen := map[failover.ProbeID]int{}
	for i := range probes {
		p.send(failover.Probe{ID: failover.ProbeID(i + 1), Target: one.String()}, pathBy(0).to(one.String()))
	}
	waitFor(t, "all answers", func() bool {
		for _, o := range out.take() {
			switch e := o.Event.(type) {
			case failover.ProbeSent:
				sent++
				seen[e.ID]++
			case failover.ProbeAnswered:
				answered++
				if seen[e.ID]++; seen[e.ID] != 2 {
					t.Errorf("probe %d: the answer comes before the sending", e.ID)
				}
			}
		}
		return answered >= probes
	})
	p.close()
	if sent != probes || answered != probes || len(seen) != probes {
		t.Errorf("%d sent, %d answered, %d probes; want %d of each", sent, answered, len(seen), probes)
	}
}

// While a probe of an uplink and family is without an answer, the next ones are sent in
// a way that tells for sure whether they left.
func TestCertainWhileUnanswered(t *testing.T) {
	p := newProber(func() failover.Instant { return 0 }, newOutbox(), notOwn, nil)
	fiber, lte := failover.Probe{Uplink: "fiber"}, failover.Probe{Uplink: "lte"}
	for i, step := range []struct {
		probe        failover.Probe
		change, want int
	}{{fiber, 1, 1}, {lte, 1, 1}, {fiber, 1, 2}, {fiber, -1, 1}, {fiber, -1, 0}, {fiber, 1, 1}} {
		if got := p.doubts(step.probe, step.change); got != step.want {
			t.Errorf("step %d: %d without an answer, want %d", i, got, step.want)
		}
	}
}

// A brief probe ends when it is lost, others wait for late answers.
func TestBriefProbesEndEarly(t *testing.T) {
	out := newOutbox()
	clock := clockFrom(time.Now())
	waits := make(chan time.Duration, 1)
	p := newTestProber(clock, out, func(_ context.Context, r request, report func(outcome)) {
		report(outcome{kind: probeSent, at: clock()})
		waits <- r.wait
	})
	defer p.close()
	path := pathBy(0).to("192.0.2.1")
	for brief, want := range map[bool]time.Duration{true: path.LostAfter, false: path.LostAfter + lateAnswers} {
		p.send(failover.Probe{ID: 1, Target: "192.0.2.1", Brief: brief}, path)
		if got := <-waits; got != want {
			t.Errorf("brief %v: it waits for %v, want %v", brief, got, want)
		}
	}
}
