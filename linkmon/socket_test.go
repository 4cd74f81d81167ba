package linkmon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"swerve/failover"
	"swerve/target"
)

// The methods by transport protocols are tested against servers on the loopback device,
// to which no text of a target may lead.

// localRequest is for a target on this machine.
func localRequest(m target.Method, at net.Addr, path string) request {
	to := netip.MustParseAddrPort(at.String())
	t := target.Target{Method: m, Addr: to.Addr(), Port: to.Port(), Path: path, Name: path}
	return request{target: t, to: to.Addr(), source: to.Addr(), device: "lo", wait: 10 * time.Second}
}

func localOpener() opener { return opener{clock: clockFrom(time.Now())} }

// outcomesOf runs a probe to its end, and returns what it reports as text.
func outcomesOf(t *testing.T, probe method, r request) string {
	t.Helper()
	var got []string
	last := failover.Instant(-1)
	probe(t.Context(), r, func(o outcome) {
		if o.at < last {
			t.Errorf("%v after %v", o.at, last)
		}
		last = o.at
		switch o.kind {
		case probeSent:
			got = append(got, "sent")
		case probeAnswered:
			if o.by != r.to {
				t.Errorf("answered by %v", o.by)
			}
			got = append(got, "answered")
		case probeRefused:
			got = append(got, "refused: "+o.cause.Error())
		case probeFailed:
			text := "failed: "
			if o.fault.Portal {
				text = "portal: "
			}
			got = append(got, text+o.fault.Cause)
		}
	})
	return strings.Join(got, ", ")
}

// listener accepts connections, each of which it hands to serve, until the test's end.
func listener(t *testing.T, at string, serve func(net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr()
}

// openFiles lists the process's files, without that of the list.
func openFiles(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			names = append(names, to)
		}
	}
	return names
}

// leaksNothing waits until only these sockets are open.
func leaksNothing(t *testing.T, before []string) {
	t.Helper()
	waitFor(t, "the sockets to be closed", func() bool {
		return !slices.ContainsFunc(openFiles(t), func(s string) bool { return !slices.Contains(before, s) })
	})
}

// A handshake is an answer, and a reset is. The connection ends with a reset.
func TestTCPProbe(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		ended := make(chan error, 1)
		at := listener(t, host, func(c net.Conn) {
			_, err := c.Read(make([]byte, 1))
			ended <- err
		})
		before := openFiles(t)
		if got := outcomesOf(t, tcp{localOpener()}.probe, localRequest(target.TCP, at, "")); got != "sent, answered" {
			t.Errorf("%s: %s", at, got)
		}
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the server sees %v, want a reset", at, err)
		}
		leaksNothing(t, before)
		closed, err := net.Listen("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		closed.Close()
		if got := outcomesOf(t, tcp{localOpener()}.probe, localRequest(target.TCP, closed.Addr(), "")); got != "sent, answered" {
			t.Errorf("a port without a listener: %s", got)
		}
	}
}

// Errors of the kernel before anything is sent keep their errno.
func TestSocketsThatCannotBeOpened(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}
	for _, m := range []target.Method{target.TCP, target.DNS} {
		probe := newMethods(clockFrom(time.Now()), nil)[m]
		for _, c := range []struct {
			change func(*request)
			want   string
		}{
			{func(r *request) { r.device = "nosuch" }, "the interface nosuch is gone: no such device"},
			{func(r *request) { r.source = addr("192.0.2.77") }, "the address 192.0.2.77 is gone: cannot assign requested address"},
			{func(r *request) { r.to = addr("255.255.255.255") }, "send to 255.255.255.255: "},
		} {
			r := localRequest(m, at, "example.org")
			c.change(&r)
			before := openFiles(t)
			if got := outcomesOf(t, probe, r); !strings.HasPrefix(got, "refused: "+c.want) {
				t.Errorf("%s: %s, want it refused: %s", m, got, c.want)
			}
			leaksNothing(t, before)
		}
	}
}

// A probe ends with its context, without another outcome.
func TestProbesEndWithTheirContext(t *testing.T) {
	at := listener(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 1<<20)); c.Read(make([]byte, 1)) })
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	methods := newMethods(clockFrom(time.Now()), nil)
	for m, at := range map[target.Method]net.Addr{target.HTTP: at, target.HTTPS: at, target.DNS: server.LocalAddr()} {
		before := openFiles(t)
		ctx, cancel := context.WithCancel(t.Context())
		r := localRequest(m, at, "/")
		if m == target.DNS {
			r.target.Name = "."
		}
		r.wait = time.Hour
		kinds := make(chan outcomeKind, 10)
		over := make(chan struct{})
		go func() {
			defer close(over)
			methods[m](ctx, r, func(o outcome) { kinds <- o.kind })
		}()
		if kind := <-kinds; kind != probeSent {
			t.Errorf("%s: first outcome %d", m, kind)
		}
		cancel()
		<-over
		if len(kinds) > 0 {
			t.Errorf("%s: another outcome %d", m, <-kinds)
		}
		leaksNothing(t, before)
	}
}

// What is told of a fault is bounded, whatever the other side says.
func TestFaultsAreBounded(t *testing.T) {
	f := faultOf(fmt.Errorf("x%s", strings.Repeat("y", 10_000)))
	if len(f.Cause) > maxCause+3 || f.Portal {
		t.Errorf("%d bytes, portal %v", len(f.Cause), f.Portal)
	}
	if f := faultOf(&os.PathError{Op: "read", Path: "probe", Err: syscall.ECONNRESET}); f.Cause != "connection reset by peer" {
		t.Errorf("%q", f.Cause)
	}
}

// Whether an answer is one to the first SYN follows from the kernel's round trip time.
func TestAnswersToLaterSYNs(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		after time.Duration
		anew  uint32
		rtt   time.Duration
		want  bool
	}{
		{20 * ms, 0, 20 * ms, false},
		{1020 * ms, 1, 20 * ms, true},
		{3020 * ms, 2, 20 * ms, true},
		{3020 * ms, 2, 2020 * ms, true},  // to the second one
		{1300 * ms, 1, 1299 * ms, false}, // to the first one, by a slow path
		{1300 * ms, 1, 0, false},         // who knows
		{1020 * ms, 0, 20 * ms, false},   // this machine was busy
		{1600 * ms, 1, 1590 * ms, false},
	} {
		if got := answersLater(c.after, c.anew, c.rtt); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
