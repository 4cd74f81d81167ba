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
	"slices"
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
	without  = flag.String("field.without", "", "kinds that the machines are not of, to find the one that a failure needs")
)

// daemonEnv makes this program the daemon of a configuration, teardownEnv what removes
// all that the daemon has left.
const daemonEnv, teardownEnv = "SWERVE_FIELD_CONFIG", "SWERVE_FIELD_TEARDOWN"

func TestMain(m *testing.M) {
	if path := os.Getenv(teardownEnv); path != "" {
		if err := daemon.Teardown(daemon.Options{Config: path}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
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
			w.before = w.ask(w.open(hasty), hasty)
			for i := range w.flows {
				w.lost += btoi(w.before[i] == "")
			}
			if w.lost == len(w.flows) {
				t.Errorf("no flow was answered before the start")
			}
			old := w.open0
			w.settle(old)
			daemon := w.start()
			old = append(old[:0:0], w.compare("the start", old)...)
			kernel := w.kernel()
			end(daemon)
			w.compare("the daemon's end", old)
			w.teardown()
			w.compare("the teardown", old)
			if t.Failed() {
				t.Logf("%s%s\nthe daemon's log:\n%s", m, kernel, w.log.String())
			}
		})
	}
}

// settle finds the flows that stop by themselves: where what others mark sends the
// packets of one flow by two ways, the kernel forgets it again and again, and it lasts
// until the next retransmission or, by chance, longer.
func (w *world) settle(open []net.Conn) {
	before := w.tracked(open)
	time.Sleep(retransmitted)
	answers := w.ask(open, patient)
	after := w.tracked(open)
	tracks := map[bool]bool{} // by whether it is IPv6
	for i, f := range w.flows {
		tracks[f.to.Addr().Is6()] = tracks[f.to.Addr().Is6()] || after[i] != ""
	}
	w.fades = make([]bool, len(w.flows))
	for i, f := range w.flows {
		forgotten := f.network == "tcp" && tracks[f.to.Addr().Is6()] && (after[i] == "" || after[i] != before[i])
		w.fades[i] = w.before[i] != "" && (answers[i] != w.before[i] || forgotten)
	}
}

// retransmitted is how long what a flow's end has sent, and not been acknowledged,
// takes to be sent again.
const retransmitted = time.Second

// tracked returns what names the gateway's entry of each flow, empty for none.
func (w *world) tracked(open []net.Conn) []string {
	entries := map[string]string{}
	for line := range strings.Lines(w.sh(w.gw, "conntrack -L -f ipv4 -p tcp -o id 2>/dev/null; conntrack -L -f ipv6 -p tcp -o id 2>/dev/null")) {
		fields := strings.Fields(line)
		from := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "src=") })
		id := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "id=") })
		if from >= 0 && id >= 0 && len(fields) >= from+4 {
			entries[strings.Join(fields[from:from+4], " ")] = fields[id]
		}
	}
	ids := make([]string, len(open))
	for i, c := range open {
		if c == nil || w.flows[i].network != "tcp" {
			continue
		}
		from, to := netip.MustParseAddrPort(c.LocalAddr().String()), w.flows[i].to
		ids[i] = entries[fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", from.Addr(), to.Addr(), from.Port(), to.Port())]
		if again := entries[fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", to.Addr(), from.Addr(), to.Port(), from.Port())]; again != "" {
			ids[i] = "by an answer: " + again
		}
	}
	return ids
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compare holds the answers to flows that are under way, and to ones that begin now,
// against those of before.
func (w *world) compare(what string, open []net.Conn) []net.Conn {
	w.t.Helper()
	after := w.ask(open, patient)
	fresh := make([]string, len(w.flows))
	for range 1 + repeats { // a machine under load loses one now and then
		for i, answer := range w.ask(w.open(patient), patient) {
			if fresh[i] != w.before[i] && answer != "" {
				fresh[i] = answer
			}
		}
		if same(w.before, fresh) {
			break
		}
	}
	for i, f := range w.flows {
		if w.before[i] == "" {
			continue
		}
		if after[i] != w.before[i] && open[i] != nil && !w.fades[i] && !w.wavers(f, w.before[i], what) {
			w.t.Errorf("%s, under way at %s: %q, before the start %q", f, what, after[i], w.before[i])
		}
		if fresh[i] != w.before[i] && !(w.anyHop(f) && fresh[i] != "") && !w.wavers(f, w.before[i], what) {
			w.t.Errorf("%s, begun after %s: %q, before the start %q", f, what, fresh[i], w.before[i])
		}
	}
	return open
}

// anyHop reports whether it is left open by which of several hops a new flow goes: by
// a flow label, of each socket's own, or for a socket of the gateway's own by a nexthop
// object, which the kernel looks up once more with the source that the first lookup has
// given. With hops of a route's own it then takes the one of that source.
func (w *world) anyHop(f flow) bool {
	return w.m.shares[0] != 0 && (f.to.Addr().Is6() || w.m.objects && f.from == w.gw)
}

// wavers reports whether a flow changes its way by itself at any change of routes or
// rules, whoever makes it: on one of several hops, with nothing that holds it there.
func (w *world) wavers(f flow, before, what string) bool {
	inner := strings.Contains(before, " 192.168.") || strings.Contains(before, " fd00:") || strings.HasSuffix(before, ":50::9")
	return w.m.shares[0] != 0 && (f.origin.Mark != 0 || f.origin.Addr.IsValid() || inner || what == "the teardown")
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
	origin  netns.Origin
	to      netip.AddrPort
}

func (f flow) String() string {
	what := fmt.Sprintf("%s's %s to %s", f.name, f.network, f.to)
	if f.origin.Addr.IsValid() {
		what += " from " + f.origin.Addr.String()
	}
	if f.origin.Mark != 0 {
		what += fmt.Sprintf(" with the mark %#x", f.origin.Mark)
	}
	return what
}

// world is a machine with all around it.
type world struct {
	t      *testing.T
	m      machine
	gw     *netns.NS
	places map[string]*netns.NS
	flows  []flow
	open0  []net.Conn
	before []string // the answers, empty for none; what was not answered is not asked again
	fades  []bool   // the flows that stop by themselves
	lost   int
	config string
	folder string
	log    bytes.Buffer
}

const port = 7000

func build(t *testing.T, m machine) *world {
	t.Helper()
	w := &world{t: t, m: m, gw: netns.New(t), folder: t.TempDir()}
	lan, guest := netns.New(t), netns.New(t)
	w.places = map[string]*netns.NS{"gateway": w.gw, "lan": lan, "guest": guest}
	w.must(netns.Veth(w.gw, "lan0", lan, "eth0"))
	w.must(netns.Veth(w.gw, "lan1", guest, "eth0"))
	w.sh(lan, "ip addr add 192.168.10.9/24 dev eth0; ip -6 addr add fd00:10::9/64 dev eth0; ip link set eth0 up\n"+strings.Join(m.lan, "\n"))
	w.sh(guest, "ip addr add 192.168.20.9/24 dev eth0; ip -6 addr add fd00:20::9/64 dev eth0; ip link set eth0 up")
	var far [3]*netns.NS
	for i, e := range ends {
		far[i] = netns.New(t)
		w.places[e.dev] = far[i]
		w.must(netns.Veth(w.gw, e.dev, far[i], e.dev))
		w.sh(far[i], strings.Join(m.ways[i], "\n"))
	}
	w.sh(w.gw, "sysctl -q net/ipv4/ip_forward=1 net/ipv6/conf/all/forwarding=1\n"+strings.Join(m.gateway, "\n"))
	w.sh(lan, "ip route add default via 192.168.10.1; ip -6 route add default via fd00:10::1")
	w.sh(guest, "ip route add default via 192.168.20.1; ip -6 route add default via fd00:20::1")
	for i, ns := range far {
		for _, d := range destinations {
			w.serve(ns, ends[i].dev, netip.AddrPortFrom(netip.MustParseAddr(d), port), false)
		}
	}
	for _, s := range m.services {
		w.serve(w.places[s.place], s.place, netip.MustParseAddrPort(s.at), s.proxy)
	}
	for _, d := range destinations {
		to := netip.AddrPortFrom(netip.MustParseAddr(d), port).String()
		for _, from := range []string{"lan", "guest", "gateway"} {
			w.flow(request{from: from, to: to})
		}
	}
	for _, r := range m.flows {
		w.flow(r)
	}
	return w
}

func (w *world) flow(r request) {
	for _, network := range []string{"udp", "tcp"} {
		w.flows = append(w.flows, flow{w.places[r.from], r.from, network, r.origin, netip.MustParseAddrPort(r.to)})
	}
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
func (w *world) serve(ns *netns.NS, way string, at netip.AddrPort, proxy bool) {
	w.t.Helper()
	if proxy {
		way = "the proxy at " + way
	}
	packets, err := ns.ListenPacket("udp4", at.String())
	if at.Addr().Is6() {
		packets, err = ns.ListenPacket("udp6", at.String())
	}
	w.must(err)
	streams, err := ns.ListenTransparent(at.String(), proxy)
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

// patience is how often datagrams are sent until they are answered, and how long
// each answer is waited for.
type patience struct {
	tries int
	each  time.Duration
}

// Before the start what is not answered soon just is not compared.
var (
	hasty   = patience{2, 400 * time.Millisecond}
	patient = patience{12, 400 * time.Millisecond}
)

// open begins each flow; nil where it cannot begin, or was not answered before.
func (w *world) open(p patience) []net.Conn {
	open := make([]net.Conn, len(w.flows))
	var all sync.WaitGroup
	for i, f := range w.flows {
		if w.before != nil && w.before[i] == "" {
			continue
		}
		all.Go(func() {
			if f.network == "udp" {
				if c, err := f.from.DialUDPFrom(f.origin, f.to); err == nil {
					open[i] = c
				}
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.tries)*p.each)
			defer cancel()
			if c, err := f.from.DialTCPFrom(ctx, f.origin, f.to); err == nil {
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

// ask has each flow that was answered before ask once, and returns the answers; empty
// for none.
func (w *world) ask(open []net.Conn, p patience) []string {
	answers := make([]string, len(open))
	var all sync.WaitGroup
	for i, c := range open {
		if c != nil && (w.before == nil || w.before[i] != "") {
			all.Go(func() { answers[i] = p.ask(c, w.flows[i].network) })
		}
	}
	all.Wait()
	return answers
}

func (p patience) ask(c net.Conn, network string) string {
	b := make([]byte, 128)
	for try := range p.tries {
		if network == "udp" || try == 0 {
			if _, err := c.Write([]byte("?")); err != nil && network == "tcp" {
				return ""
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(p.each))
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

// start starts a daemon, and waits until it has done what it does.
func (w *world) start() *exec.Cmd {
	w.t.Helper()
	socket := filepath.Join(w.folder, "s")
	w.config = filepath.Join(w.folder, "swerve.yaml")
	var uplinks, tier string
	for i, n := range w.m.order {
		uplinks += fmt.Sprintf("  - {name: up%d, interface: %s}\n", n, ends[n].dev)
		tier += fmt.Sprintf(", up%d: %d", n, w.m.shares[i])
	}
	uplinks = "uplinks:\n" + uplinks + "probe: {targets: [gateway]}\n"
	if w.m.shares[0] != 0 {
		uplinks += "policies: [{name: default, tiers: [{" + tier[2:] + "}]}]\n"
	}
	if w.m.auto {
		uplinks = fmt.Sprintf("uplinks: auto\nprobe: {targets: [%q, %q]}\n", destinations[0], destinations[len(destinations)/2])
	}
	text := fmt.Sprintf("%scontrol: {socket: %s, group: \"\"}\nstate: %s/state\n", uplinks, socket, w.folder)
	w.must(os.WriteFile(w.config, []byte(text), 0o600))
	cmd := w.gw.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonEnv+"="+w.config, "GORACE=atexit_sleep_ms=50")
	cmd.Stderr = &w.log
	w.must(w.gw.Start(cmd))
	w.t.Cleanup(func() { end(cmd) })
	client := control.Dial(socket)
	defer client.Close()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		s, err := client.Status(context.Background())
		if err == nil && settled(s) {
			return cmd
		}
		if time.Since(begin) > 60*time.Second {
			w.t.Fatalf("the uplinks are not up: %v\n%s%s%s%s", err, states(s), w.m, w.kernel(), w.log.String())
		}
	}
}

// states are those of the uplinks, for a person.
func states(s *control.Status) (out string) {
	if s == nil {
		return "no status\n"
	}
	for _, u := range s.Uplinks {
		out += fmt.Sprintf("%s: IPv4 %s (%s), IPv6 %s (%s)\n", u.Name, u.IPv4.State, u.IPv4.Reason, u.IPv6.State, u.IPv6.Reason)
	}
	for _, p := range s.Problems {
		out += fmt.Sprintf("%s %s: %s\n", p.Code, p.Object, p.Text)
	}
	return out
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// teardown removes what the daemon has left, and holds that nothing is left.
func (w *world) teardown() {
	w.t.Helper()
	cmd := w.gw.Command(os.Args[0])
	cmd.Env = append(os.Environ(), teardownEnv+"="+w.config, "GORACE=atexit_sleep_ms=50")
	cmd.Stderr = &w.log
	w.must(w.gw.Start(cmd))
	w.must(cmd.Wait())
	if left := w.sh(w.gw, "{ ip -4 rule; ip -6 rule; } | grep 'proto 83' || true; ip -4 route show table all proto 83; ip -6 route show table all proto 83; nft list tables | grep 'inet swerve' || true"); left != "" {
		w.t.Errorf("the teardown left:\n%s", left)
	}
}

// settled reports whether each uplink is up in each family, or a problem says why it is
// not: rules of others before ours may lead its probes elsewhere.
func settled(s *control.Status) bool {
	for _, u := range s.Uplinks {
		named := slices.ContainsFunc(s.Problems, func(p control.Problem) bool {
			return p.Object == u.Name && slices.Contains([]string{"probes-unsent", "probes-elsewhere", "uplink-silent"}, p.Code)
		})
		if (u.IPv4.State != control.Up || u.IPv6.State != control.Up) && !named {
			return false
		}
	}
	return len(s.Uplinks) >= 2
}
