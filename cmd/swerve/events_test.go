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
			Policy: "default", Family: "ipv4", Reason: "fiber is down", Count: new(int64(1234)), TookMS: new(3.5)}},
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
