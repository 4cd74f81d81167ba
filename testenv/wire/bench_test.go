package wire_test

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/wire"
)

// BenchmarkTiming sends 1,000 packets a second over a delay of 10 ms and reports how
// much longer each took, and what share of one core the whole process used meanwhile.
func BenchmarkTiming(b *testing.B) {
	const delay = 10 * ms
	bench := newBench(b, wire.Options{ToISP: wire.Path{Delay: delay}})
	extra := make([]time.Duration, 0, b.N)
	sent := make([]time.Time, b.N)
	received := make(chan struct{})
	bench.MarkLateness()
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime(b)
	go func() {
		defer close(received)
		for {
			number, ok := drain(bench.in, time.Second)
			if !ok {
				return
			}
			extra = append(extra, time.Since(sent[number])-delay)
			if len(extra) == b.N {
				return
			}
		}
	}()
	for i := range b.N {
		time.Sleep(time.Until(began.Add(time.Duration(i) * ms)))
		sent[i] = time.Now()
		send(b, bench.out, uint32(i), 100)
	}
	<-received
	b.StopTimer()
	slices.Sort(extra)
	at := func(q float64) float64 { return float64(extra[int(q*float64(len(extra)-1))]) / float64(ms) }
	b.ReportMetric(at(0.5), "ms-extra-p50")
	b.ReportMetric(at(0.99), "ms-extra-p99")
	b.ReportMetric(at(1), "ms-extra-max")
	b.ReportMetric(float64(bench.Lateness())/float64(ms), "ms-late-max")
	b.ReportMetric(100*float64(cpuTime(b)-cpu)/float64(time.Since(began)), "%core")
	b.ReportMetric(float64(b.N-len(extra)), "lost")
}

func cpuTime(b *testing.B) time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
