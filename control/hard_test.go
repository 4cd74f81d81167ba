package control

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// open connects and sends the beginning of a request, or nothing.
func (r *rig) open(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.Write([]byte(request))
	return conn
}

const followRequest = "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n"

// alive fails the test unless the server answers as ever.
func (r *rig) alive(t *testing.T) {
	t.Helper()
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Fatalf("the server does not answer any more: %v", err)
	}
}

// A client that receives nothing is cut off, and holds up nobody.
func TestReaderThatTakesNothing(t *testing.T) {
	lim := defaultLimits
	lim.stall = 2 * time.Second
	r := newRig(t, lim)
	conn := r.open(t, followRequest)
	r.note("first")
	long := strings.Repeat("x", 1000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last string
	for e, err := range r.client.Events(ctx, time.Time{}, true) {
		if err != nil {
			t.Fatal(err)
		}
		if last = reasonOf(e); last == "end" {
			break
		}
		if e.Seq == 1 {
			for range 2000 {
				r.note(long)
			}
			r.note("end")
		}
	}
	if last != "end" {
		t.Errorf("the other reader's last event: %q", last)
	}
	r.alive(t)
	time.Sleep(lim.stall + time.Second/2) // until it is cut off: reading sooner would count as receiving
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if got := readAll(conn); len(got) == 0 || strings.Contains(got, `"end"`) {
		t.Errorf("a reader that took nothing for long gets %d bytes, up to the end", len(got))
	}
}

// A client that the log overtakes learns what it missed, and continues.
func TestReaderThatFallsBehind(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.note("first")
	var missed, seen uint64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const burst = 3 * MaxEvents
	for e, err := range r.client.Events(ctx, time.Time{}, true) {
		if err != nil {
			t.Fatal(err)
		}
		switch d := e.Detail.(DaemonDetail); {
		case d.Missed > 0:
			missed += d.Missed
			continue
		case d.Reason == "first":
			for range burst { // while this client receives nothing
				r.note("burst")
			}
			r.note("last")
		}
		if seen++; reasonOf(e) == "last" {
			break
		}
	}
	if missed == 0 || seen+missed != burst+2 {
		t.Errorf("%d seen and %d missed of %d", seen, missed, burst+2)
	}
}

// A thousand clients that receive nothing: publishing and status continue, and what they
// cost is bounded.
func TestThousandSlowReaders(t *testing.T) {
	const readers = 1000
	r := newRig(t, defaultLimits)
	before := heap()
	for range readers {
		r.open(t, followRequest)
	}
	until(t, "all streams", func() bool { return runtime.NumGoroutine() > readers })
	for range 5 * MaxEvents {
		r.note(strings.Repeat("x", 200))
	}
	r.alive(t)
	grown := int64(heap()) - int64(before)
	t.Logf("%d readers cost %d KiB of heap each", readers, grown/readers>>10)
	if grown > readers*64<<10+4*MaxLogBytes {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func TestTooManyClients(t *testing.T) {
	lim := defaultLimits
	lim.conns, lim.streams, lim.spare = 4, 2, 1
	r := newRig(t, lim)
	for range 2 {
		conn := r.open(t, followRequest)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 1 {
			t.Fatal(err)
		}
	}
	if got := r.raw(t, strings.Replace(followRequest, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); !strings.Contains(got, " 503 ") ||
		!strings.Contains(got, "too many clients follow the events") {
		t.Errorf("one stream too many: %s", got)
	}
	r.alive(t) // and its connection stays open
	idle := r.open(t, "")
	until(t, "the refusal", func() bool {
		return strings.Contains(r.raw(t, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"), "too many clients are connected")
	})
	until(t, "the refusal in a client's words", func() bool {
		c := Dial(r.socket)
		defer c.Close()
		_, err := c.Status(t.Context())
		return err != nil && strings.Contains(err.Error(), "too many clients are connected; close some")
	})
	idle.Close()
	until(t, "room again", func() bool {
		return strings.HasPrefix(r.raw(t, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200")
	})
}

// Clients that send garbage, too much, too slowly, or nothing.
func TestBadClients(t *testing.T) {
	lim := defaultLimits
	lim.read, lim.idle = 200*time.Millisecond, 200*time.Millisecond
	r := newRig(t, lim)
	random := make([]byte, 64<<10)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(random)
	r.backend.reload = func(context.Context) error { t.Error("garbage reloads"); return nil }
	for name, c := range map[string]struct{ request, answer string }{
		"random":           {string(random), "400"},
		"nothing":          {"", ""},
		"half a line":      {"GET /v1/st", ""},
		"half a header":    {"GET /v1/status HTTP/1.1\r\nHost", ""},
		"zero bytes":       {strings.Repeat("\x00", 1<<16), ""},
		"no HTTP":          {"status\r\n\r\n", "400"},
		"HTTP/2":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404"},
		"header too large": {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "431"},
		"body too large":   {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{\"" + strings.Repeat("a", 99997), "400"},
		"body missing":     {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", "400"},
		"negative length":  {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"},
		"chunks of nought": {"POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.raw(t, c.request)
			if !strings.HasPrefix(strings.TrimPrefix(got, "HTTP/1.1 "), c.answer) || c.answer == "" && strings.Contains(got, " 200 ") {
				t.Errorf("%.200q", got)
			}
		})
	}
	r.alive(t)
}

// A flood of requests of all kinds: every client gets an answer.
func TestFlood(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.backend.reload = func(context.Context) error { return nil }
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			c := Dial(r.socket)
			defer c.Close()
			for range 8 {
				if _, err := c.Status(context.Background()); err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Reload(context.Background(), 0); err != nil && !strings.Contains(err.Error(), "under way") {
					t.Error(err)
					return
				}
				for _, err := range c.Events(context.Background(), time.Now().Add(-10*time.Millisecond), false) {
					if err != nil {
						t.Error(err)
						return
					}
				}
				r.note(fmt.Sprint(i))
			}
		})
	}
	all.Wait()
	if asked := r.backend.asked; asked > 32*8*3 {
		t.Errorf("the backend was asked %d times", asked)
	}
}
