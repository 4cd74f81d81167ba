package field

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"swerve/control"
	"swerve/daemon"
	"swerve/testenv/netns"
)

var (
	machines = flag.Int("field.machines", 10, "how many random machines")
	seed     = flag.Uint64("field.seed", 0, "this machine alone")
	first    = flag.Uint64("field.first", 1, "the first machine's seed")
)

// daemonEnv makes this program the daemon of a configuration.
const daemonEnv = "SWERVE_FIELD_CONFIG"

func TestMain(m *testing.M) {
	path := os.Getenv(daemonEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := daemon.Run(ctx, daemon.Options{Config: path, Software: "field", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A daemon that starts moves no traffic that works: each flow that was answered is
// answered, by the same way and from the same address as the far end sees it; those
// that are under way as well as those that begin.
func TestStartMovesNothing(t *testing.T) {
	if *seed != 0 {
		*first, *machines = *seed, 1
	}
	for n := range uint64(*machines) {
		m := newMachine(*first + n)
		t.Run(fmt.Sprint("machine ", m.seed), func(t *testing.T) {
			t.Parallel()
			w := build(t, m)
			before := w.ask(w.open())
			p := w.start()
			after, fresh := w.ask(p), w.ask(w.open())
			for range repeats { // a machine under load loses one now and then
				if same(before, fresh) {
					break
				}
				for i, answer := range w.ask(w.open()) {
					if answer == before[i] {
						fresh[i] = answer
					}
				}
			}
			lost := 0
			for i, f := range w.flows {
				if before[i] == "" {
					lost++
					continue
				}
				if after[i] != before[i] {
					t.Errorf("%s, under way: %q, before the start %q", f, after[i], before[i])
				}
				if fresh[i] != before[i] {
					t.Errorf("%s, begun after it: %q, before the start %q", f, fresh[i], before[i])
				}
			}
			if lost == len(w.flows) {
				t.Errorf("no flow was answered before the start")
			}
			if t.Failed() {
				t.Logf("%s%s\nthe daemon's log:\n%s", m, w.kernel(), w.log.String())
			}
		})
	}
}

// repeats bounds how often flows that are not answered as before are begun anew.
const repeats = 2

// same reports whether all that was answered before is answered so.
func same(before, after []string) bool {
	for i := range before {
		if before[i] != "" && before[i] != after[i] {
			return false
		}
	}
	return true
}

// flow is one kind of traffic.
type flow struct {
	from    *netns.NS
	name    string // whose it is
	network string // udp or tcp
	to      netip.AddrPort
}

func (f flow) String() string { return fmt.Sprintf("%s %s to %s", f.name, f.network, f.to) }

// world is a machine with all around it.
type world struct {
	t      *testing.T
	m      machine
	gw     *netns.NS
	flows  []flow
	open0  []net.Conn
	folder string
	log    bytes.Buffer
}

const port = 7000

func build(t *testing.T, m machine) *world {
	t.Helper()
	w := &world{t: t, m: m, gw: netns.New(t), folder: t.TempDir()}
	lan := netns.New(t)
	w.must(netns.Veth(w.gw, "lan0", lan, "eth0"))
	w.sh(lan, "ip addr add 192.168.10.9/24 dev eth0; ip -6 addr add fd00:10::9/64 dev eth0; ip link set eth0 up")
	var far [3]*netns.NS
	for i, e := range ends {
		far[i] = netns.New(t)
		w.must(netns.Veth(w.gw, e.dev, far[i], e.dev))
		w.sh(far[i], strings.Join(m.ways[i], "\n"))
	}
	w.sh(w.gw, "sysctl -q net/ipv4/ip_forward=1 net/ipv6/conf/all/forwarding=1\n"+strings.Join(m.gateway, "\n"))
	w.sh(lan, "ip route add default via 192.168.10.1; ip -6 route add default via fd00:10::1")
	for i, ns := range far {
		for _, d := range destinations {
			w.serve(ns, ends[i].dev, netip.MustParseAddr(d))
		}
	}
	for _, d := range destinations {
		for _, network := range []string{"udp", "tcp"} {
			to := netip.AddrPortFrom(netip.MustParseAddr(d), port)
			w.flows = append(w.flows, flow{lan, "the LAN's", network, to}, flow{w.gw, "the gateway's", network, to})
		}
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.m)
	}
}

func (w *world) sh(ns *netns.NS, script string) string {
	w.t.Helper()
	out, err := ns.Run("sh", "-ec", script)
	w.must(err)
	return out
}

func (w *world) kernel() string {
	return w.sh(w.gw, "ip -4 rule; ip -6 rule; ip -4 route show table all; ip -6 route show table all; nft list ruleset")
}

// serve answers whoever asks at an address by the way it came and the address that is
// seen.
func (w *world) serve(ns *netns.NS, way string, at netip.Addr) {
	w.t.Helper()
	here := netip.AddrPortFrom(at, port).String()
	packets, err := ns.ListenPacket("udp", here)
	w.must(err)
	streams, err := ns.Listen("tcp", here)
	w.must(err)
	var done sync.WaitGroup
	w.t.Cleanup(func() { packets.Close(); streams.Close(); done.Wait() })
	answer := func(a net.Addr) []byte {
		host, _, _ := net.SplitHostPort(a.String())
		return []byte(way + " sees " + host + "\n")
	}
	done.Go(func() {
		b := make([]byte, 64)
		for {
			_, from, err := packets.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = packets.WriteTo(answer(from), from)
			}
		}
	})
	done.Go(func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer c.Close()
				w.t.Cleanup(func() { c.Close() })
				b := make([]byte, 1)
				for {
					if _, err := c.Read(b); err != nil {
						return
					}
					_, _ = c.Write(answer(c.RemoteAddr()))
				}
			})
		}
	})
}

const (
	// patience is for an answer, tries for datagrams.
	patience = 400 * time.Millisecond
	tries    = 4
)

// open begins each flow; nil where it cannot begin.
func (w *world) open() []net.Conn {
	open := make([]net.Conn, len(w.flows))
	var all sync.WaitGroup
	for i, f := range w.flows {
		all.Go(func() {
			if f.network == "udp" {
				if c, err := f.from.DialUDP(f.to); err == nil {
					open[i] = c
				}
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), tries*patience)
			defer cancel()
			if c, err := f.from.DialTCP(ctx, f.to); err == nil {
				open[i] = c
			}
		})
	}
	all.Wait()
	w.t.Cleanup(func() {
		for _, c := range open {
			if c != nil {
				c.Close()
			}
		}
	})
	w.open0 = open
	return open
}

// ask has each flow ask once, and returns the answers; empty for none.
func (w *world) ask(open []net.Conn) []string {
	answers := make([]string, len(open))
	var all sync.WaitGroup
	for i, c := range open {
		if c != nil {
			all.Go(func() { answers[i] = ask(c, w.flows[i].network) })
		}
	}
	all.Wait()
	return answers
}

func ask(c net.Conn, network string) string {
	b := make([]byte, 128)
	for try := range tries {
		if network == "udp" || try == 0 {
			if _, err := c.Write([]byte("?")); err != nil && network == "tcp" {
				return ""
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if n, err := c.Read(b); err == nil {
			answer := strings.TrimSpace(string(b[:n]))
			for network == "udp" { // what was asked more than once is answered so too
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				if _, err := c.Read(b); err != nil {
					break
				}
			}
			return answer
		}
	}
	return ""
}

// start starts a daemon, waits until it has done what it does, and returns the flows
// that are under way.
func (w *world) start() []net.Conn {
	w.t.Helper()
	config, socket := filepath.Join(w.folder, "swerve.yaml"), filepath.Join(w.folder, "s")
	var uplinks string
	for _, n := range w.m.order {
		uplinks += fmt.Sprintf("  - {name: up%d, interface: %s}\n", n, ends[n].dev)
	}
	uplinks = "uplinks:\n" + uplinks + "probe: {targets: [gateway]}\n"
	if w.m.auto {
		uplinks = fmt.Sprintf("uplinks: auto\nprobe: {targets: [%q, %q]}\n", destinations[0], destinations[len(destinations)/2])
	}
	text := fmt.Sprintf("%scontrol: {socket: %s, group: \"\"}\nstate: %s/state\n", uplinks, socket, w.folder)
	w.must(os.WriteFile(config, []byte(text), 0o600))
	cmd := w.gw.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonEnv+"="+config, "GORACE=atexit_sleep_ms=50")
	cmd.Stderr = &w.log
	w.must(w.gw.Start(cmd))
	w.t.Cleanup(func() { end(cmd) })
	client := control.Dial(socket)
	defer client.Close()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		s, err := client.Status(context.Background())
		if err == nil && allUp(s) {
			return w.open0
		}
		if time.Since(begin) > 30*time.Second {
			w.t.Fatalf("the uplinks are not up: %v\n%s%s", err, w.m, w.log.String())
		}
	}
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

func allUp(s *control.Status) bool {
	for _, u := range s.Uplinks {
		if u.IPv4.State != control.Up || u.IPv6.State != control.Up {
			return false
		}
	}
	return len(s.Uplinks) >= 2
}
