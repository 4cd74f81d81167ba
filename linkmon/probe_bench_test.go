package linkmon

import (
	"context"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	probing "github.com/prometheus-community/pro-bing"

	"swerve/failover"
	"swerve/testenv/netns"
)

// BenchmarkAtRest measures the processor time of processes that do nothing but probe,
// at the rate of two uplinks with three targets in each of two families and 20 ms
// of round trip. It says how much of one core that is for the prober (swerve), for
// bare pro-bing with a pinger for each probe as here (bare), and with pingers that
// stay (staying). They run at the same time, each in its own namespace, so that
// what else the machine does disturbs all alike.
//
//	go test ./linkmon -run '^$' -bench AtRest -benchtime 60s
func BenchmarkAtRest(b *testing.B) {
	b.Run("unprivileged", func(b *testing.B) { benchmarkAtRest(b, false) })
	b.Run("raw", func(b *testing.B) { benchmarkAtRest(b, true) })
}

// loadEnv makes the test binary probe as it says until its input ends.
const loadEnv = "LINKMON_TEST_LOAD"

var loads = [...]string{"swerve", "bare", "staying"}

func benchmarkAtRest(b *testing.B, raw bool) {
	var processes [len(loads)]*exec.Cmd
	var inputs [len(loads)]io.Closer
	for i, load := range loads {
		processes[i], inputs[i] = startLoad(b, load, raw)
	}
	start := time.Now()
	for b.Loop() {
		time.Sleep(time.Second)
	}
	elapsed := time.Since(start)
	b.ReportMetric(0, "ns/op")
	for i, p := range processes {
		inputs[i].Close()
		if err := p.Wait(); err != nil {
			b.Fatal(err)
		}
		used := p.ProcessState.UserTime() + p.ProcessState.SystemTime()
		b.ReportMetric(100*used.Seconds()/elapsed.Seconds(), "%core-"+loads[i])
	}
}

func startLoad(b *testing.B, load string, raw bool) (*exec.Cmd, io.Closer) {
	ns := netns.New(b)
	permit(b, ns, raw)
	echoServer(b, ns, 20*time.Millisecond)
	cmd := ns.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadEnv+"="+load)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		b.Fatal(err)
	}
	return cmd, input
}

// loadMain is what such a process does. It fails where nothing was answered.
func loadMain(kind string) int {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var answers atomic.Int64
	switch kind {
	case "swerve":
		out := newOutbox()
		clock := clockFrom(time.Now())
		p := newProber(clock, out, notOwn, newMethods(clock, nil))
		take := func() {
			for _, o := range out.take() {
				if _, ok := o.Event.(failover.ProbeAnswered); ok {
					answers.Add(1)
				}
			}
		}
		all.Go(func() {
			path := benchPath() // parsed once, as in the daemon
			each(ctx, func(i int) {
				p.send(failover.Probe{ID: failover.ProbeID(i + 1), Target: benchTarget}, path)
				take()
			})
			p.close()
			take()
		})
	case "bare":
		all.Go(func() {
			each(ctx, func(int) { all.Go(func() { barePinger(1, &answers).RunWithContext(ctx) }) })
		})
	case "staying":
		for range 12 {
			all.Go(func() { barePinger(-1, &answers).RunWithContext(ctx) })
		}
	}
	os.Stdin.Read(make([]byte, 1))
	cancel()
	all.Wait()
	if answers.Load() == 0 {
		return 1
	}
	return 0
}

// each calls f twelve times a second.
func each(ctx context.Context, f func(int)) {
	tick := time.NewTicker(time.Second / 12)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f(i)
		}
	}
}

const benchTarget = "192.0.2.1"

func benchPath() Path {
	p := pathBy(0)
	p.Link.Interface = "tun0"
	p.Link.Family[0].Addresses[0] = prefix("10.0.0.2/24")
	return p.to(benchTarget)
}

func barePinger(count int, answers *atomic.Int64) *probing.Pinger {
	r, err := newRequest(failover.IPv4, benchPath())
	if err != nil {
		panic(err)
	}
	p := probing.New(benchTarget)
	p.SetPrivileged(rawOnly())
	p.SetMark(uint(r.mark))
	p.Source, p.InterfaceName = r.source.String(), r.device
	p.OnRecv = func(*probing.Packet) { answers.Add(1) }
	p.RecordRtts, p.RecordTTLs = false, false
	if p.Count = count; count > 0 {
		p.Timeout = r.wait
	}
	return p
}

// echoServer makes tun0 with an internet behind it that answers each echo request
// after a while.
func echoServer(b *testing.B, ns *netns.NS, rtt time.Duration) {
	tun := addTun(b, ns, "tun0")
	runIP(b, ns, "addr add 10.0.0.2/24 dev tun0")
	runIP(b, ns, "route add default dev tun0")
	var pending sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			packet := make([]byte, 2048)
			n, err := tun.Fds[0].Read(packet)
			if err != nil {
				return
			}
			if packet = packet[:n]; n < 28 || packet[0] != 0x45 || packet[9] != 1 || packet[20] != 8 {
				continue
			}
			pending.Add(1)
			time.AfterFunc(rtt, func() {
				defer pending.Done()
				tun.Fds[0].Write(echoReply(packet))
			})
		}
	}()
	b.Cleanup(func() {
		ns.SetDown("tun0")
		tun.Fds[0].Close()
		<-done
		pending.Wait()
	})
}

// echoReply turns a request into its answer. Swapping addresses leaves the header's
// sum as it was; the type becomes 0, so the message's sum grows by 8 << 8.
func echoReply(packet []byte) []byte {
	reply := append([]byte(nil), packet...)
	copy(reply[12:16], packet[16:20])
	copy(reply[16:20], packet[12:16])
	reply[20] = 0
	sum := uint32(binary.BigEndian.Uint16(packet[22:])) + 8<<8
	binary.BigEndian.PutUint16(reply[22:], uint16(sum+sum>>16))
	return reply
}
