package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeBackend answers what the test says.
type fakeBackend struct {
	mu     sync.Mutex
	status *Status
	asked  int
	reload func(context.Context) error
	// confirm is that of the last reload.
	confirm time.Duration
}

func (b *fakeBackend) Status() *Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.status
}

func (b *fakeBackend) set(s *Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s
}

func (b *fakeBackend) Reload(ctx context.Context, confirm time.Duration) error {
	b.confirm = confirm
	return b.reload(ctx)
}

func (b *fakeBackend) Confirm(context.Context) (Confirmed, error) {
	if b.confirm == 0 {
		return Confirmed{}, &Error{Action: "confirm", Object: "the configuration", Cause: Refuse("none waits"), Remedy: "reload with confirm"}
	}
	return Confirmed{Config: "a.yaml", Generation: 3}, nil
}

func (b *fakeBackend) Explain(_ context.Context, q Question) (Explanation, error) {
	if q.In == "nowhere" {
		return Explanation{}, &Error{Action: "explain", Object: "a packet", Cause: Refuse("there is no interface nowhere"), Remedy: "name one"}
	}
	return Explanation{Dst: q.Dst, Proto: q.Proto, Port: q.Port, DSCP: q.DSCP, Mark: q.Mark, In: q.In, Why: q.Src.String()}, nil
}

func (b *fakeBackend) Switch(_ context.Context, o Order) (Ordered, error) {
	if o.Uplink != "fiber" {
		return Ordered{}, &Error{Action: "switch to", Object: "uplink " + o.Uplink, Cause: ErrNoUplink, Remedy: "the uplinks are fiber"}
	}
	return Ordered{Uplink: o.Uplink, Policies: List[string]{o.Policy}, Text: o.For.String()}, nil
}

func (b *fakeBackend) Drain(ctx context.Context, o Order) (Ordered, error) { return b.Switch(ctx, o) }

func (b *fakeBackend) Resume(_ context.Context, uplink string) (Resumed, error) {
	switch uplink {
	case "", "fiber":
		return Resumed{Uplink: uplink, Released: List[string]{"fiber"}}, nil
	case "broken":
		return Resumed{}, errors.New("it cannot be")
	}
	return Resumed{}, &Error{Action: "resume", Object: "uplink " + uplink, Cause: ErrNoUplink, Remedy: "the uplinks are fiber"}
}

// A resume names an uplink or means all; one that does not exist is refused (422), and
// what else fails is not (500).
func TestResume(t *testing.T) {
	r := newRig(t, defaultLimits)
	for _, uplink := range []string{"", "fiber"} {
		if done, err := r.client.Resume(t.Context(), uplink); err != nil || done.Uplink != uplink || len(done.Released) != 1 {
			t.Errorf("resume %q: %+v, %v", uplink, done, err)
		}
	}
	const want = "resume uplink fibre: there is no such uplink; the uplinks are fiber"
	if _, err := r.client.Resume(t.Context(), "fibre"); !errors.Is(err, ErrRefused) || err.Error() != want {
		t.Errorf("an uplink that does not exist: %v", err)
	}
	if _, err := r.client.Resume(t.Context(), "broken"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("a failure: %v", err)
	}
}

// rig is a server that runs on a socket of its own.
type rig struct {
	hub     *Hub
	backend *fakeBackend
	socket  string
	client  *Client
	stop    func() // ends the server and waits for it
}

func newRig(t *testing.T, lim limits) *rig {
	t.Helper()
	r := &rig{hub: NewHub(), backend: &fakeBackend{status: fullStatus()}, socket: filepath.Join(t.TempDir(), "swerve.sock")}
	l, err := Listen(r.socket, "")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(l, r.hub, r.backend, slog.New(slog.DiscardHandler), lim)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	r.client = Dial(r.socket)
	r.stop = sync.OnceFunc(func() {
		r.client.Close()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// note publishes an event of type daemon with that reason.
func (r *rig) note(reason string) {
	r.hub.Publish(note(reason))
}

// until polls ok with a deadline that only a hang can reach.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestStatusOverTheSocket(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.backend.status.Overall, r.backend.status.Version = "", 0
	got, err := r.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := fullStatus()
	want.Uplinks[0].IPv6 = FamilyStatus{State: Absent}
	want.Policies[0].IPv6 = List[Share]{}
	want.Sets = List[Set]{}
	for i := range want.Uplinks {
		for _, f := range []*FamilyStatus{&want.Uplinks[i].IPv4, &want.Uplinks[i].IPv6} {
			if f.State != Absent && f.Targets == nil {
				f.Targets = List[Target]{}
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if r.backend.status.Overall != "" {
		t.Error("the server changed the backend's status")
	}
}

// Two daemons on one machine, each with its socket, know nothing of each other; on
// one socket there is only one.
func TestTwoInstances(t *testing.T) {
	a, b := newRig(t, defaultLimits), newRig(t, defaultLimits)
	if l, err := Listen(a.socket, ""); err == nil {
		l.Close()
		t.Error("a second daemon has the socket of the first")
	}
	other := fullStatus()
	other.Daemon.PID = 4711
	b.backend.set(other)
	a.note("of the first")
	for _, err := range b.client.Events(t.Context(), time.Time{}, false) {
		t.Errorf("the second has an event of the first, %v", err)
	}
	b.stop()
	if s, err := a.client.Status(t.Context()); err != nil || s.Daemon.PID != 812 {
		t.Errorf("the first, after the second's end: %+v, %v", s, err)
	}
	if _, err := b.client.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("the second, after its end: %v", err)
	}
}

func TestStatusIsShared(t *testing.T) {
	b := &fakeBackend{status: fullStatus()}
	s := snapshot{backend: b}
	for i, c := range []struct {
		at    time.Duration
		seq   uint64
		asked int
	}{{0, 1, 1}, {sharedFor - 1, 1, 1}, {sharedFor - 1, 2, 2}, {2 * sharedFor, 2, 3}, {2 * sharedFor, 2, 3}} {
		if _, err := s.get(noon.Add(c.at), c.seq); err != nil || b.asked != c.asked {
			t.Errorf("call %d: the backend was asked %d times, want %d; %v", i, b.asked, c.asked, err)
		}
	}
	s.forget()
	b.status = nil
	if body, err := s.get(noon, 0); err == nil {
		t.Errorf("a daemon that has no status yet answers %s", body)
	}
}

func TestReload(t *testing.T) {
	r := newRig(t, defaultLimits)
	var peer Peer
	r.backend.reload = func(ctx context.Context) error {
		peer, _ = PeerOf(ctx)
		after := fullStatus()
		after.Daemon.Generation = 8
		r.backend.set(after)
		return nil
	}
	if s, err := r.client.Status(t.Context()); err != nil || s.Daemon.Generation != 7 {
		t.Errorf("before: %+v, %v", s, err)
	}
	done, err := r.client.Reload(t.Context(), 0)
	if err != nil || done != (Reloaded{Config: "/etc/swerve/swerve.yaml", Generation: 8}) {
		t.Errorf("%+v, %v", done, err)
	}
	if s, err := r.client.Status(t.Context()); err != nil || s.Daemon.Generation != 8 {
		t.Errorf("right after: %+v, %v", s, err)
	}
	if peer.PID == 0 {
		t.Error("the backend does not learn who asks")
	}
	r.backend.reload = func(context.Context) error {
		return &Error{Action: "reload", Object: "a.yaml", Cause: errors.New("2 problems"), Remedy: "mend them",
			Problems: []string{"a.yaml:1: x", "a.yaml:2: y"}}
	}
	_, err = r.client.Reload(t.Context(), 0)
	var e *Error
	if !errors.Is(err, ErrRefused) || !errors.As(err, &e) || len(e.Problems) != 2 || e.Problems[1] != "a.yaml:2: y" {
		t.Errorf("%v", err)
	}
	if errors.Is(err, ErrNoDaemon) || err.Error() != "reload a.yaml: 2 problems; mend them" {
		t.Errorf("%v", err)
	}
	r.backend.reload = func(context.Context) error { return errors.New("routing: no\nroom") }
	_, err = r.client.Reload(t.Context(), 0)
	if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "routing: no, room") {
		t.Errorf("%v", err)
	}
}

// A reload outlives the client that asked for it, and there is one at a time.
func TestReloadIsNotCutShort(t *testing.T) {
	r := newRig(t, defaultLimits)
	begun, finish := make(chan struct{}), make(chan struct{})
	var ended error
	done := make(chan struct{})
	r.backend.reload = func(ctx context.Context) error {
		close(begun)
		<-finish
		ended = ctx.Err()
		close(done)
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error)
	go func() { _, err := r.client.Reload(ctx, 0); asked <- err }()
	<-begun
	if _, err := r.client.Reload(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "another reload is under way") {
		t.Errorf("a second reload: %v", err)
	}
	cancel()
	if err := <-asked; err == nil {
		t.Error("the client that left had an answer")
	}
	time.Sleep(200 * time.Millisecond) // for the server to notice
	close(finish)
	<-done
	if ended != nil {
		t.Errorf("the reload ended with its client: %v", ended)
	}
}

func TestReloadEndsWithTheServer(t *testing.T) {
	r := newRig(t, defaultLimits)
	begun := make(chan struct{})
	r.backend.reload = func(ctx context.Context) error {
		close(begun)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Error("the reload's context does not end with the server")
		}
		return ctx.Err()
	}
	asked := make(chan error)
	go func() { _, err := r.client.Reload(context.Background(), 0); asked <- err }()
	<-begun
	r.stop()
	if err := <-asked; err == nil {
		t.Error("a reload that was cut short is reported as done")
	}
}

func TestEventsOverTheSocket(t *testing.T) {
	r := newRig(t, defaultLimits)
	want := someEvents()
	for _, e := range want {
		r.hub.Publish(e)
	}
	var got []Event
	for e, err := range r.client.Events(t.Context(), want[2].Time.Time, false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != len(want)-2 || got[0].Type() != EventSwitch || got[0].Seq != 3 || got[len(got)-1].Seq != 10 {
		t.Errorf("since the third: %+v", got)
	}
	for _, err := range r.client.Events(t.Context(), noon.Add(time.Hour), false) {
		t.Errorf("an event from the future, %v", err)
	}
}

func TestFollow(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.note("first")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for e, err := range r.client.Events(ctx, time.Now().Add(-time.Hour), true) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reasonOf(e))
		switch len(got) {
		case 1:
			r.note("second")
		case 2:
			// The wall clock jumps back by years: news all the same.
			r.hub.Publish(Event{Time: At(noon), Detail: DaemonDetail{Reason: "third"}})
		case 3:
			cancel()
		}
	}
	if strings.Join(got, " ") != "first second third" {
		t.Errorf("%q", got)
	}
}

// A stream goes on beyond the time that a request has to come in.
func TestFollowForLong(t *testing.T) {
	lim := defaultLimits
	lim.read = 50 * time.Millisecond
	r := newRig(t, lim)
	r.note("first")
	for e, err := range r.client.Events(t.Context(), time.Time{}, true) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Seq == 2 {
			return
		}
		time.Sleep(5 * lim.read)
		r.note("second")
	}
}

// The last words of a daemon reach those who follow, who then learn of its end.
func TestFollowToTheEnd(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.note("started")
	var got []string
	var last error
	for e, err := range r.client.Events(t.Context(), time.Time{}, true) {
		if err != nil {
			last = err
			break
		}
		got = append(got, reasonOf(e))
		if len(got) == 1 {
			r.note("stopping")
			go r.stop()
		}
	}
	if strings.Join(got, " ") != "started stopping" || !errors.Is(last, ErrNoDaemon) {
		t.Errorf("%q, then %v", got, last)
	}
	r.stop()
}

func TestErrorsAreJSON(t *testing.T) {
	r := newRig(t, defaultLimits)
	for _, c := range []struct{ request, status, cause string }{
		{"GET / HTTP/1.1", "404", "no such endpoint"},
		{"GET /v2/status HTTP/1.1", "404", "no such endpoint"},
		{"DELETE /v1/status HTTP/1.1", "405", "/v1/status accepts only GET"},
		{"OPTIONS * HTTP/1.1", "404", "no such endpoint"},
		{"GET /v1/../v1/status HTTP/1.1", "404", "no such endpoint"},
		{"HEAD /v1/status HTTP/1.1", "405", ""},
		{"GET /v1/reload HTTP/1.1", "405", "/v1/reload accepts only POST"},
		{"GET /v1/status?x=1 HTTP/1.1", "400", `unknown parameter "x"`},
		{"GET /v1/events?since=yesterday HTTP/1.1", "400", "since is"},
		{"GET /v1/events?follow=maybe HTTP/1.1", "400", "follow is"},
		{"GET /v1/events?since=1h&since=2h HTTP/1.1", "400", "given twice"},
		{"GET /v1/events?%zz HTTP/1.1", "400", "not well formed"},
		{"POST /v1/reload?x=1 HTTP/1.1", "400", "unknown parameter"},
		{"POST /v1/reload HTTP/1.1\r\nContent-Length: 17", "400", "not a reload request"},
	} {
		answer := r.raw(t, c.request+"\r\nHost: x\r\nConnection: close\r\n\r\n"+`{"confirm":"2m"}`+"\n")
		head, body, _ := strings.Cut(answer, "\r\n\r\n")
		var f failure
		if err := json.Unmarshal([]byte(body), &f); c.cause != "" && err != nil || !strings.Contains(f.Error, c.cause) ||
			!strings.HasPrefix(head, "HTTP/1.1 "+c.status) {
			t.Errorf("%s: %s", c.request, answer)
		}
	}
}

// raw sends bytes and returns all that comes back.
func (r *rig) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	conn.Write([]byte(request))
	return readAll(conn)
}

// readAll returns what comes before the end, be that a reset or a deadline.
func readAll(conn net.Conn) string {
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}
