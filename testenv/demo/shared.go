package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/netns"
	"swerve/testenv/realtime"
	"swerve/testenv/traffic"
	"swerve/testenv/wait"
)

// The rates of the three lines, in bits a second.
var sharedRates = [...]int64{9_000_000, 3_000_000, 4_000_000}

// sharedConfig shares the load of two lines, and overflows to a third.
const sharedConfig = `uplinks:
  - {name: fiber, interface: wan0, rate: {down: 9mbit}}
  - {name: cable, interface: wan1, rate: {down: 3mbit}}
  - {name: lte, interface: wan2, rate: {down: 4mbit}}
policies:
  - {name: default, tiers: [{fiber: 3, cable: 1}, lte], spread: flows, overflow: 85%}
  - {name: cameras, tiers: [cable], last_resort: block}
rules:
  - {from: 192.168.10.140/30, use: cameras}
probe: {interval: 400ms}
health: {window: 5s, damping: {half_life: 5s, suppress: 12, reuse: 6}}
failback: {after: 3s, min_interval: 2s}
`

const sharedIntro = `Swerve demo: a gateway whose uplinks share the load, in network namespaces of its own.

  clients ── gateway ─┬─ wan0 (fiber, 9 Mbit/s) ── ISP 1 ─┬─ internet: targets, a server
                      ├─ wan1 (cable, 3 Mbit/s) ── ISP 2 ─┤
                      └─ wan2 (lte, 4 Mbit/s) ──── ISP 3 ─┘
  10 ms of delay each way on the wires; nothing of this machine is changed.

`

// The clients of the LAN: those that download, and a camera.
const sharedClients = 40

var (
	camera = netip.MustParseAddr("192.168.10.141")
	router = netip.MustParseAddr("192.168.10.1")
)

// sharing is what the acts of this demo work with.
type sharing struct {
	*stage
	swerve  *lab.Swerve
	binary  string
	clients []netip.Addr
}

// performShared plays the demo of a shared load.
func performShared(ctx context.Context, o options, out io.Writer, openDashboard func(socket string) error) error {
	fmt.Fprint(out, sharedIntro)
	l, err := lab.New(lab.Options{Uplinks: 3})
	if err != nil {
		return err
	}
	defer l.Close()
	if realtime.Refused() {
		fmt.Fprint(out, ordinaryPriority)
	}
	for uplink, rate := range sharedRates {
		lab.Shape(l, uplink, rate, rate, 150*time.Millisecond)
	}
	fmt.Fprintf(out, "Its configuration:\n\n%s\n", indent(sharedConfig))
	swerve, err := l.NewSwerve(lab.Setup{Binary: o.binary, Config: sharedConfig})
	if err != nil {
		return err
	}
	if err := openDashboard(swerve.Socket()); err != nil {
		return err
	}
	all, err := lab.MoreClients(l.Client, 44)
	if err != nil {
		return err
	}
	s := &sharing{
		stage:   &stage{lab: l, gateway: swerve, clients: new(clients), story: newStory(out), patience: time.Minute},
		swerve:  swerve,
		binary:  o.binary,
		clients: all[:sharedClients],
	}
	for _, act := range []func(context.Context) error{s.share, s.explain, s.overflow, s.lose, s.switchByHand, s.drainByHand} {
		if err := act(ctx); err != nil {
			return fmt.Errorf("%w\nthe daemon's log:\n%s", err, swerve.Log())
		}
	}
	s.story.close(nil)
	return nil
}

// until waits for a status.
func (s *sharing) until(ctx context.Context, what string, holds func(*control.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	_, err := lab.Await(ctx, s.gateway, what, holds)
	return err
}

// bothCarry reports whether fiber and cable carry, all uplinks are up and nothing overflows.
func bothCarry(s *control.Status) bool {
	return lab.AllUp(s) && len(s.Policies[0].IPv4) == 2 && len(s.Policies[0].IPv6) == 2 && !s.Policies[0].Overflowing.IPv4
}

// run runs a command of swerve in the gateway, and shows it with its output.
func (s *sharing) run(ctx context.Context, args ...string) error {
	called := strings.Join(args, " ")
	shown := called
	result, err := s.swerve.Exec(ctx, s.binary, append(slices.Clone(args), "--socket", s.swerve.Socket())...)
	if err != nil {
		return err
	}
	if text := strings.TrimRight(result.Stdout+result.Stderr, "\n"); text != "" {
		shown += strings.ReplaceAll("\n"+text, "\n", "\n                    ")
	}
	s.story.print(time.Now(), "do", "swerve %s", shown)
	if result.Code != 0 {
		return fmt.Errorf("swerve %s: exit %d", called, result.Code)
	}
	return nil
}

// open opens flows of the clients to the server.
func (s *sharing) open(flows int) (*traffic.Census, error) {
	return traffic.OpenCensus(s.lab.Client, s.lab.Internet, s.clients, []netip.Addr{lab.Server4}, flows)
}

// by counts the flows by the uplink from whose address they come, for people.
func (s *sharing) by(sources []netip.Addr) string {
	names, counts := []string{"fiber", "cable", "lte", "nowhere"}, make([]int, 4)
	for _, a := range sources {
		i := slices.IndexFunc(s.lab.Uplinks, func(u lab.Uplink) bool { return u.Public4 == a })
		if i < 0 {
			i = 3
		}
		counts[i]++
	}
	var parts []string
	for i, n := range counts {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d by %s (%.0f %%)", n, names[i], 100*float64(n)/float64(len(sources))))
		}
	}
	return strings.Join(parts, ", ")
}

// newFlows opens some flows, and tells by which uplinks they go.
func (s *sharing) newFlows(flows int) error {
	census, err := s.open(flows)
	if err != nil {
		return err
	}
	defer census.Close()
	s.story.print(time.Now(), "server", "%d new flows: %s", flows, s.by(census.Ask()))
	return nil
}

func (s *sharing) share(ctx context.Context) error {
	s.story.chapter("Two lines share the load, 3:1")
	if err := s.startDaemon(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, "fiber and cable to carry", bothCarry); err != nil {
		return err
	}
	return s.newFlows(600)
}

func (s *sharing) explain(ctx context.Context) error {
	s.story.chapter("Why did this packet go there?")
	for _, packet := range [][]string{
		{s.clients[0].String(), lab.Server4.String(), "tcp", "443"},
		{camera.String(), lab.Server4.String(), "udp", "5000"},
		{router.String(), lab.Server4.String(), "tcp", "22"},
	} {
		if err := s.run(ctx, append([]string{"explain"}, packet...)...); err != nil {
			return err
		}
	}
	return nil
}

// overflow has clients download more than fiber and cable carry.
func (s *sharing) overflow(ctx context.Context) error {
	s.story.chapter(fmt.Sprintf("%d clients want more than fiber and cable carry", sharedClients))
	shorts, err := traffic.StartShorts(s.lab.Client, s.lab.Internet, s.clients, lab.Server4,
		traffic.ShortOptions{Least: time.Second, Most: 5 * time.Second})
	if err != nil {
		return err
	}
	defer shorts.Stop()
	s.story.print(time.Now(), "clients", "each downloads one flow of 1 to 5 s after another")
	if err := s.until(ctx, "an overflow", func(st *control.Status) bool { return st.Policies[0].Overflowing.IPv4 }); err != nil {
		return err
	}
	if err := s.newFlows(40); err != nil {
		return err
	}
	if err := s.until(ctx, "all lines to be full", func(st *control.Status) bool { return len(st.Policies[0].OverflowTo.IPv4) == 3 }); err != nil {
		return err
	}
	if err := s.rates(ctx, 4*time.Second); err != nil {
		return err
	}
	shorts.Stop()
	s.story.print(time.Now(), "clients", "no more downloads")
	return s.until(ctx, "the end of the overflow", bothCarry)
}

// rates measures what the lines carry for a while.
func (s *sharing) rates(ctx context.Context, length time.Duration) error {
	var before [len(sharedRates)]uint64
	since := time.Now()
	for i := range before {
		var err error
		if before[i], err = lab.Received(s.lab, i); err != nil {
			return err
		}
	}
	if err := wait.Sleep(ctx, length); err != nil {
		return err
	}
	var parts []string
	var sum, most float64
	took := time.Since(since).Seconds()
	for i, name := range []string{"fiber", "cable", "lte"} {
		now, err := lab.Received(s.lab, i)
		if err != nil {
			return err
		}
		rate := float64(now-before[i]) * 8 / took
		sum, most = sum+rate, most+float64(sharedRates[i])
		parts = append(parts, fmt.Sprintf("%s %.1f Mbit/s", name, rate/1e6))
	}
	s.story.print(time.Now(), "lines", "%s: %.0f %% of what all three can carry", strings.Join(parts, ", "), 100*sum/most)
	return nil
}

// lose cuts cable: only its flows move.
func (s *sharing) lose(ctx context.Context) error {
	s.story.chapter("One of the two is lost")
	census, err := s.open(400)
	if err != nil {
		return err
	}
	defer census.Close()
	before := census.Ask()
	s.story.print(time.Now(), "server", "%d flows: %s", len(before), s.by(before))
	fault, err := s.gateway.Fault(1, "carrier")
	if err != nil {
		return err
	}
	s.story.print(fault.Onset, "do", "the plug is pulled from cable")
	if err := s.until(ctx, "fiber to carry", lab.CarriedBy("fiber")); err != nil {
		return err
	}
	after := census.Ask()
	moved, others := 0, 0
	for i := range after {
		switch {
		case after[i] == before[i]:
		case before[i] == s.lab.Uplinks[1].Public4:
			moved++
		default:
			others++
		}
	}
	s.story.print(time.Now(), "server", "the same flows: %s; %d of cable's moved, %d others did", s.by(after), moved, others)
	dialled := time.Now()
	dialling, cancel := context.WithTimeout(ctx, 5*time.Second)
	_, err = s.lab.Client.DialTCPFrom(dialling, originOf(camera), netip.AddrPortFrom(lab.Server4, traffic.Port))
	cancel()
	s.story.print(time.Now(), "camera", "cable is its only way, and the rest is blocked: %s after %.1f ms", causeOf(err), time.Since(dialled).Seconds()*1000)
	if err := fault.Undo(); err != nil {
		return err
	}
	s.story.print(time.Now(), "do", "cable is plugged in again")
	if err := s.until(ctx, "both to carry", bothCarry); err != nil {
		return err
	}
	return s.newFlows(400)
}

func (s *sharing) switchByHand(ctx context.Context) error {
	s.story.chapter("A switch by hand")
	if err := s.run(ctx, "switch", "lte", "--policy", "default", "--for", "1h"); err != nil {
		return err
	}
	if err := s.until(ctx, "lte to carry", lab.CarriedBy("lte")); err != nil {
		return err
	}
	if err := s.newFlows(100); err != nil {
		return err
	}
	if err := s.run(ctx, "resume"); err != nil {
		return err
	}
	return s.until(ctx, "both to carry", bothCarry)
}

func (s *sharing) drainByHand(ctx context.Context) error {
	s.story.chapter("A drain by hand")
	census, err := s.open(200)
	if err != nil {
		return err
	}
	defer census.Close()
	before := census.Ask()
	s.story.print(time.Now(), "server", "%d flows: %s", len(before), s.by(before))
	if err := s.run(ctx, "drain", "fiber", "--for", "10m"); err != nil {
		return err
	}
	if err := s.until(ctx, "cable to carry", lab.CarriedBy("cable")); err != nil {
		return err
	}
	s.story.print(time.Now(), "server", "the same flows: %s", s.by(census.Ask()))
	if err := s.newFlows(100); err != nil {
		return err
	}
	if err := s.run(ctx, "resume", "fiber"); err != nil {
		return err
	}
	return s.until(ctx, "both to carry", bothCarry)
}

func originOf(a netip.Addr) netns.Origin { return netns.Origin{Addr: a} }

// causeOf is the kernel's word in an error of a connection.
func causeOf(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "connected"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
