package main

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"swerve/control"
	"swerve/testenv/wait"
)

func someEvents() []control.Event {
	at := func(ms int) control.Time { return control.At(noon.Add(time.Duration(ms) * time.Millisecond)) }
	return []control.Event{
		{Time: at(0), Detail: control.DaemonDetail{Action: "started", Reason: "2 uplinks adopted"}},
		{Time: at(100), Detail: control.HealthDetail{Uplink: "fiber", Family: "ipv4",
			From: control.Suspect, To: control.Shunned, EvidenceMS: new(118.25),
			Reason: "0 of 9 probes of the burst answer: 1.1.1.1, 8.8.8.8 and 9.9.9.9 are silent"}},
		{Time: at(101), Detail: control.SwitchDetail{Policy: "default", Family: "ipv4",
			Kind: "failover", From: []string{"fiber"}, To: []string{"cable", "lte"}, Reason: "fiber is shunned",
			EvidenceMS: new(118.25), SwitchMS: new(0.9)}},
		{Time: at(500), Detail: control.SessionsDetail{Action: "moved", Uplink: "fiber",
			Policy: "default", Family: "ipv4", Reason: "fiber is down", Moved: new(int64(1234)), TookMS: new(3.5)}},
		{Time: at(600), Detail: control.RepairDetail{Action: "restored", Object: "rule 5301",
			Reason: "deleted by another program"}},
		{Time: at(700), Detail: control.OperatorDetail{Action: "drained", Uplink: "lte", Until: at(3600_000)}},
		{Time: at(800), Detail: control.ConfigDetail{Action: "refused", Object: "swerve.yaml",
			Reason: "2 problems", Generation: 7, Problems: []string{"swerve.yaml:3: one", "swerve.yaml:4: two"}}},
		{Time: at(900), Detail: control.HealthDetail{Uplink: "lte", Family: "ipv6",
			From: control.Unknown, To: control.Up}},
		{Time: at(1000), Detail: control.DaemonDetail{Reason: "too slow: 12 events missed\x1b[1m", Missed: 12}},
		{Time: at(1100), Detail: control.SwitchDetail{Policy: "default", Family: "ipv6", Kind: "switchover",
			To: []string{"fiber"}}},
	}
}

// Since takes what the daemon takes, and local times as events prints them.
func TestParseSince(t *testing.T) {
	zone := time.FixedZone("here", 3600)
	now := time.Date(2026, 11, 29, 12, 45, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"1h":                      now.Add(-time.Hour),
		"2026-11-29T08:00:00Z":    time.Date(2026, 11, 29, 9, 0, 0, 0, zone),
		"2026-11-28 12:50:00":     time.Date(2026, 11, 28, 12, 50, 0, 0, zone),
		"2026-11-28 12:50:00.123": time.Date(2026, 11, 28, 12, 50, 0, 123e6, zone),
		"2026-11-28T12:50:00":     time.Date(2026, 11, 28, 12, 50, 0, 0, zone),
		"2026-11-28 12:50":        time.Date(2026, 11, 28, 12, 50, 0, 0, zone),
		"2026-11-28":              time.Date(2026, 11, 28, 0, 0, 0, 0, zone),
		"12:40":                   time.Date(2026, 11, 29, 12, 40, 0, 0, zone),
		"12:50":                   time.Date(2026, 11, 28, 12, 50, 0, 0, zone), // yesterday's
		"12:50:30":                time.Date(2026, 11, 28, 12, 50, 30, 0, zone),
	} {
		if got, err := parseSince(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "yesterday", "25:00", "2026-13-01", "-1h"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// With -n the last events are shown, and with -f as well what follows, each once.
func TestLastEvents(t *testing.T) {
	d := startDaemon(t, quietStatus())
	for _, e := range someEvents() {
		d.hub.Publish(e)
	}
	lines := func(args ...string) int {
		t.Helper()
		r := d.command(t, append([]string{"events", "--json"}, args...)...)
		if r.code != exitDone {
			t.Fatalf("%v: %+v", args, r)
		}
		return strings.Count(r.stdout, "\n")
	}
	if got := lines("-n", "3"); got != 3 {
		t.Errorf("%d of the last 3", got)
	}
	if got := lines("-n", "300"); got != len(someEvents()) {
		t.Errorf("%d of all", got)
	}
	for _, n := range []string{"0", "-1"} {
		if r := d.command(t, "events", "-n", n); r.code != exitUsage {
			t.Errorf("-n %s: %+v", n, r)
		}
	}
	var out watched
	done := make(chan int, 1)
	go func() {
		done <- execute(t.Context(), []string{"events", "--json", "-f", "-n", "2", "--socket", d.socket}, &out, io.Discard)
	}()
	wait.For(t, "the last two", func() bool { return out.lines() == 2 })
	d.hub.Publish(control.Event{Detail: control.DaemonDetail{Reason: "news"}})
	wait.For(t, "the news", func() bool { return out.has("news") })
	if got := out.lines(); got != 3 {
		t.Errorf("%d lines:\n%s", got, out.text.String())
	}
	d.stop()
	d.stop = func() {}
	<-done
}

// The list is in the order of the times, as far as these are close, and what happens to
// several policies at once is one line; what differs in more than that is not.
func TestEventList(t *testing.T) {
	at := func(ms int) control.Time { return control.At(noon.Add(time.Duration(ms) * time.Millisecond)) }
	moves := func(ms int, policy, family, reason string) control.Event {
		return control.Event{Time: at(ms), Detail: control.SwitchDetail{Policy: policy, Family: family, Kind: "failover",
			From: []string{"fiber"}, To: []string{"lte"}, Reason: reason, EvidenceMS: new(100.0), SwitchMS: new(float64(ms))}}
	}
	offline := func(ms int, policy string) control.Event {
		return control.Event{Time: at(ms), Detail: control.DaemonDetail{Action: "offline", Object: "policy " + policy, Family: "ipv4", Reason: "no uplink answers"}}
	}
	sessions := func(ms int, policy string, n int64) control.Event {
		return control.Event{Time: at(ms), Detail: control.SessionsDetail{Action: "moved", Uplink: "fiber", Policy: policy, Family: "ipv4", Reason: "it is lost", Moved: &n}}
	}
	poked := func(ms int, policy string, n *int64) control.Event {
		return control.Event{Time: at(ms), Detail: control.SessionsDetail{Action: "moved", Uplink: "lte", Policy: policy, Family: "ipv4", Reason: "it is lost", Poked: n}}
	}
	var lines [][]byte
	for _, e := range []control.Event{
		{Time: at(30), Detail: control.OperatorDetail{Action: "drained", Uplink: "fiber"}},
		moves(10, "default", "ipv4", "no carrier"), moves(11, "voice", "ipv4", "no carrier"), moves(11, "default", "ipv6", "no carrier"),
		moves(12, "video", "ipv4", "loss 31%"), moves(13, "guests", "ipv4", "no carrier"),
		sessions(40, "default", 3), sessions(41, "voice", 4), offline(50, "a"), offline(51, "b"),
		poked(52, "default", nil), poked(53, "voice", new(int64(2))), poked(54, "guests", new(int64(3))), moves(1800, "default", "ipv4", "no carrier"),
		{Time: at(-3_600_000), Detail: control.DaemonDetail{Action: "started", Object: "daemon", Reason: "after the clock was set back"}},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	text, err := eventList(lines, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		got = append(got, strings.Join(strings.Fields(line)[2:], " "))
	}
	want := []string{
		"switch default, voice, guests IPv4 failover fiber -> lte: no carrier (decided after 100.0 ms, done in 13.0 ms)",
		"switch default IPv6 failover fiber -> lte: no carrier (decided after 100.0 ms, done in 11.0 ms)",
		"switch video IPv4 failover fiber -> lte: loss 31% (decided after 100.0 ms, done in 12.0 ms)",
		"operator fiber drained",
		"sessions fiber default, voice IPv4 moved 7: it is lost",
		"daemon policies a, b IPv4 offline: no uplink answers",
		"sessions lte default, voice, guests IPv4 moved: it is lost, 5 clients made to speak",
		"switch default IPv4 failover fiber -> lte: no carrier (decided after 100.0 ms, done in 1800 ms)",
		"daemon daemon started: after the clock was set back",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text, err := eventList(lines, 2, false); err != nil || strings.Count(text, "\n") != 2 {
		t.Errorf("the last two: %q, %v", text, err)
	}
}

func TestEventText(t *testing.T) {
	var wide, narrow strings.Builder
	for _, e := range someEvents() {
		wide.WriteString(eventText(e, false) + "\n")
		narrow.WriteString(eventText(e, true) + "\n")
	}
	golden(t, "events-wide.txt", wide.String())
	golden(t, "events-80.txt", narrow.String())
	if n := strings.Count(wide.String(), "\n"); n != len(someEvents()) {
		t.Errorf("%d lines for %d events", n, len(someEvents()))
	}
	for _, line := range strings.Split(narrow.String(), "\n") {
		if columns(line) > screenWidth {
			t.Errorf("%d columns: %s", columns(line), line)
		}
	}
}

func TestEventsCommand(t *testing.T) {
	d := startDaemon(t, quietStatus())
	if r := d.command(t, "events"); r != (result{exitDone, "", ""}) {
		t.Errorf("nothing has happened: %+v", r)
	}
	now := control.At(time.Now())
	for i, e := range someEvents() {
		e.Time = control.At(now.Add(time.Duration(i-5) * time.Hour))
		d.hub.Publish(e)
	}
	r := d.command(t, "events", "--json", "--since", "2h30m")
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	if r.code != exitDone || r.stderr != "" || len(lines) != 7 {
		t.Fatalf("%d lines, want 7: %+v", len(lines), r)
	}
	for i, line := range lines {
		var e control.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != uint64(i+4) {
			t.Errorf("line %d: %s, %v", i, line, err)
		}
	}
	if r := d.command(t, "events", "--since", "2d"); r.code != exitDone || strings.Count(r.stdout, "\n") != 10 {
		t.Errorf("since 2d: %+v", r)
	}
}

// watched is an output that a test can watch while it is written.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *watched) has(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.text.String(), part)
}

func (w *watched) lines() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text.String(), "\n")
}

// follow runs `events -f` until it has shown an event that is published after its
// start, then ends it by end, and returns its exit code and standard error.
func follow(t *testing.T, d *fakeDaemon, end func(cancel func())) (int, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs watched
	d.hub.Publish(someEvents()[0])
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"events", "-f", "--socket", d.socket}, io.Writer(&out), &errs)
	}()
	for i, part := range []string{"2 uplinks adopted", "fiber is shunned"} {
		for deadline := time.Now().Add(20 * time.Second); !out.has(part); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q is not shown", part)
			}
		}
		if i == 0 {
			d.hub.Publish(someEvents()[2])
		}
	}
	end(cancel)
	return <-done, errs.text.String()
}

func TestFollowUntilInterrupted(t *testing.T) {
	d := startDaemon(t, quietStatus())
	if code, errs := follow(t, d, func(cancel func()) { cancel() }); code != exitDone || errs != "" {
		t.Errorf("%d, %s", code, errs)
	}
}

func TestFollowUntilTheDaemonEnds(t *testing.T) {
	d := startDaemon(t, quietStatus())
	code, errs := follow(t, d, func(func()) { d.stop(); d.stop = func() {} })
	if code != exitNoDaemon || !strings.Contains(errs, "no daemon answers any more: it stopped; start it") {
		t.Errorf("%d, %s", code, errs)
	}
}
