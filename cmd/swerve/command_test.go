package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"swerve/control"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	time.Local = time.FixedZone("CET", 3600) // the screens show local time
	goleak.VerifyTestMain(m)
}

// golden compares got with a file of testdata, or rewrites that.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// fakeDaemon answers on a socket of its own what the test says.
type fakeDaemon struct {
	hub    *control.Hub
	socket string
	status *control.Status
	reload error
	// confirm and order are what was asked for last.
	confirm time.Duration
	order   control.Order
	// question is what was asked to be explained, and explained the answer.
	question  control.Question
	explained control.Explanation
	stop      func()
}

func (d *fakeDaemon) Status() *control.Status { return d.status }
func (d *fakeDaemon) Reload(_ context.Context, confirm time.Duration) error {
	d.confirm = confirm
	return d.reload
}

func (d *fakeDaemon) Confirm(context.Context) (control.Confirmed, error) {
	if d.confirm == 0 {
		return control.Confirmed{}, &control.Error{Action: "confirm", Object: "the configuration", Cause: control.Refuse("no reload waits for a confirmation"),
			Remedy: "swerve reload --confirm 2m begins one"}
	}
	return control.Confirmed{Config: "/etc/swerve/swerve.yaml", Generation: 8}, nil
}

func (d *fakeDaemon) Explain(_ context.Context, q control.Question) (control.Explanation, error) {
	d.question = q
	return d.explained, nil
}

func (d *fakeDaemon) Switch(_ context.Context, o control.Order) (control.Ordered, error) {
	d.order = o
	return control.Ordered{Uplink: o.Uplink, Text: "new flows go by it in IPv4"}, d.refuse(o.Uplink)
}

func (d *fakeDaemon) Drain(_ context.Context, o control.Order) (control.Ordered, error) {
	d.order = o
	return control.Ordered{Uplink: o.Uplink, Text: "it gets no new flows; those that it has stay", Unkept: "no room"}, d.refuse(o.Uplink)
}

func (d *fakeDaemon) refuse(uplink string) error {
	if uplink == "fiber" {
		return nil
	}
	return &control.Error{Action: "switch to", Object: "uplink " + uplink, Cause: control.ErrNoUplink, Remedy: "the uplinks are fiber"}
}

func (d *fakeDaemon) Resume(_ context.Context, uplink string) (control.Resumed, error) {
	if uplink != "" && uplink != "fiber" {
		return control.Resumed{}, &control.Error{Action: "resume", Object: "uplink " + uplink, Cause: control.ErrNoUplink, Remedy: "the uplinks are fiber"}
	}
	return control.Resumed{Uplink: uplink, Released: control.List[string]{"fiber"}}, nil
}

func startDaemon(t *testing.T, status *control.Status) *fakeDaemon {
	t.Helper()
	d := &fakeDaemon{hub: control.NewHub(), socket: filepath.Join(t.TempDir(), "s"), status: status}
	l, err := control.Listen(d.socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	server := control.NewServer(l, d.hub, d, slog.New(slog.DiscardHandler))
	go func() { served <- server.Serve(ctx) }()
	d.stop = func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	t.Cleanup(func() { d.stop() })
	return d
}

// result is what a command line gave.
type result struct {
	code           int
	stdout, stderr string
}

// command runs a command line in this process.
func command(ctx context.Context, args ...string) result {
	var out, errs bytes.Buffer
	code := execute(ctx, args, &out, &errs)
	return result{code, out.String(), errs.String()}
}

func (d *fakeDaemon) command(t *testing.T, args ...string) result {
	return command(t.Context(), append(args, "--socket", d.socket)...)
}

func TestStatusExitCodes(t *testing.T) {
	d := startDaemon(t, quietStatus())
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		d.status = quietStatus()
		time.Sleep(60 * time.Millisecond) // the server shares an answer for 50 ms
		if r := d.command(t, args...); r.code != exitDone || r.stderr != "" || r.stdout == "" {
			t.Errorf("%v, all well: %+v", args, r)
		}
		d.status = busyStatus()
		time.Sleep(60 * time.Millisecond)
		if r := d.command(t, args...); r.code != exitFailed || r.stderr != "" || r.stdout == "" {
			t.Errorf("%v, a warning: %+v", args, r)
		}
	}
}

func TestStatusJSONIsTheDaemons(t *testing.T) {
	d := startDaemon(t, busyStatus())
	r := d.command(t, "status", "--json")
	var got, want any
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	client := control.Dial(d.socket)
	defer client.Close()
	body, err := client.StatusJSON(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("%s\nwant\n%s", a, b)
	}
}

func TestNoDaemon(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "s")
	for _, args := range [][]string{
		{"status"}, {"status", "--json"}, {"events"}, {"events", "-f", "--json", "--since", "1h"}, {"reload"},
	} {
		r := command(t.Context(), append(args, "--socket", nowhere)...)
		if r.code != exitNoDaemon || r.stdout != "" || !strings.HasPrefix(r.stderr, "swerve: re") ||
			strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, nowhere+": no daemon answers: ") ||
			!strings.Contains(r.stderr, "; start it with `systemctl start swerve`") {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct{ args, stderr string }{
		{"foo", "swerve: run swerve: unknown command \"foo\" for \"swerve\"; see `swerve --help`\n"},
		{"stat", "swerve: run swerve: unknown command \"stat\" for \"swerve\" (did you mean status?); see `swerve --help`\n"},
		{"status here", "swerve: run swerve status: unknown command \"here\" for \"swerve status\"; see `swerve status --help`\n"},
		{"status --jsn", "swerve: run swerve status: unknown flag: --jsn; see `swerve status --help`\n"},
		{"events --since yesterday", "swerve: run swerve events: since is \"yesterday\", neither a span such as 1h or 2d nor a time such as 2026-01-31T08:00:00Z; see `swerve events --help`\n"},
		{"events --since=", "swerve: run swerve events: since is \"\", neither a span such as 1h or 2d nor a time such as 2026-01-31T08:00:00Z; see `swerve events --help`\n"},
		{"--socket", "swerve: run swerve: flag needs an argument: --socket; see `swerve --help`\n"},
		{"help foo", "swerve: run swerve help: unknown command \"foo\" for \"swerve\"; see `swerve help --help`\n"},
		{"help status foo", "swerve: run swerve help: unknown command \"foo\" for \"swerve status\"; see `swerve help --help`\n"},
		{"completion csh", "swerve: run swerve completion: unknown command \"csh\" for \"swerve completion\"; see `swerve completion --help`\n"},
	} {
		r := command(t.Context(), strings.Fields(c.args)...)
		if r.code != exitUsage || r.stdout != "" || r.stderr != c.stderr {
			t.Errorf("%s: %+v, want %q", c.args, r, c.stderr)
		}
	}
}

func TestHelpOfEveryCommand(t *testing.T) {
	var begun bool
	for _, c := range newRoot(&begun).Commands() {
		r := command(t.Context(), "help", c.Name())
		flagged := command(t.Context(), c.Name(), "--help")
		if r.code != exitDone || r.stderr != "" || r.stdout != flagged.stdout || !strings.Contains(r.stdout, "--socket PATH") {
			t.Errorf("%s: %+v", c.Name(), r)
		}
		if c.Name() == "completion" || c.Name() == "help" {
			continue
		}
		if c.Short == "" || c.Long == "" || c.Example == "" || c.RunE == nil || c.Run != nil {
			t.Errorf("%s lacks a text, or has no RunE", c.Name())
		}
		for _, line := range strings.Split(c.Long+"\n"+c.Short, "\n") {
			if columns(line) > screenWidth {
				t.Errorf("%s: %d columns: %s", c.Name(), columns(line), line)
			}
		}
	}
	if r := command(t.Context()); r.code != exitDone || !strings.Contains(r.stdout, "Available Commands:") {
		t.Errorf("without a command: %+v", r)
	}
}

// What a reload did not put in force is told with it.
func TestReloadTellsWhatIsNotInForce(t *testing.T) {
	s := quietStatus()
	s.Uplinks = append(s.Uplinks, control.Uplink{Name: "sat", Interface: "wan7", Enabled: true, Admin: control.Auto,
		IPv4: control.FamilyStatus{State: control.Down, Reason: "interface is missing"}, IPv6: control.FamilyStatus{State: control.Unknown}})
	s.Problems = []control.Problem{{Code: "restart-needed", Severity: control.Info, Object: "config", Text: "control is as at the start", Remedy: "restart"}}
	want := "reloaded /etc/swerve/swerve.yaml, generation 7\n" +
		"  sat: interface wan7 is missing; the uplink is used once it is there\n" +
		"  config: control is as at the start\n    -> restart\n"
	if r := startDaemon(t, s).command(t, "reload"); r != (result{exitDone, want, ""}) {
		t.Errorf("%+v", r)
	}
}

// A resume tells what it released; an uplink that does not exist, or no name, is a usage
// error.
func TestResume(t *testing.T) {
	d := startDaemon(t, quietStatus())
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"resume", "fiber"}, exitDone, "resumed fiber; no longer held back: fiber\n", ""},
		{[]string{"resume"}, exitDone, "resumed all uplinks; no longer held back: fiber\n", ""},
		{[]string{"resume", "fibre"}, exitUsage, "", "swerve: resume uplink fibre: there is no such uplink; the uplinks are fiber\n"},
		{[]string{"resume", ""}, exitUsage, "", "swerve: run swerve resume: the name of the uplink is empty; see `swerve resume --help`\n"},
	} {
		if got := d.command(t, c.args...); got != (result{c.code, c.stdout, c.stderr}) {
			t.Errorf("swerve %q: %+v", c.args, got)
		}
	}
	if got := resumedText(control.Resumed{Uplink: "lte", Waiting: control.List[string]{"lte"}}); !strings.HasSuffix(got, "\n  not up yet: lte; returned to once it is (failback.mode: manual), unless you switch or drain before\n") {
		t.Errorf("%q", got)
	}
	if got := resumedText(control.Resumed{Uplink: "lte"}); got != "resumed lte; nothing was asked of it, and damping held nothing back\n" {
		t.Errorf("%q", got)
	}
}

func TestReload(t *testing.T) {
	d := startDaemon(t, quietStatus())
	if r := d.command(t, "reload"); r != (result{exitDone, "reloaded /etc/swerve/swerve.yaml, generation 7\n", ""}) {
		t.Errorf("%+v", r)
	}
	d.reload = &control.Error{Action: "reload", Object: "swerve.yaml", Cause: errors.New("2 problems"),
		Remedy: "mend them, nothing is changed", Problems: []string{"swerve.yaml:1: one", "swerve.yaml:2: two\x1b[2J"}}
	want := "swerve.yaml:1: one\nswerve.yaml:2: two?[2J\nswerve: reload swerve.yaml: 2 problems; mend them, nothing is changed\n"
	if r := d.command(t, "reload"); r != (result{exitUsage, "", want}) {
		t.Errorf("a bad file: %+v", r)
	}
	d.reload = errors.New("routing: read the rules: no buffer space")
	if r := d.command(t, "reload"); r.code != exitFailed || !strings.Contains(r.stderr, ": routing: read the rules: no buffer space\n") {
		t.Errorf("a failure: %+v", r)
	}
}

func TestVersion(t *testing.T) {
	for args, want := range map[string]string{"version": "swerve dev\ncommit ", "--version": "swerve version dev\n"} {
		r := command(t.Context(), args)
		if r.code != exitDone || !strings.HasPrefix(r.stdout, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputThatCannotBeWritten(t *testing.T) {
	d := startDaemon(t, quietStatus())
	d.hub.Publish(control.Event{Detail: control.DaemonDetail{Reason: "started"}})
	for _, args := range []string{"status", "status --json", "events", "reload", "version"} {
		var errs bytes.Buffer
		code := execute(t.Context(), append(strings.Fields(args), "--socket", d.socket), full{}, &errs)
		if code != exitFailed || errs.String() != "swerve: write standard output: no space left on device\n" {
			t.Errorf("%s: %d, %s", args, code, errs.String())
		}
	}
}
