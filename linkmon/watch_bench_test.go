package linkmon

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"swerve/failover"
	"swerve/testenv/netns"
)

// BenchmarkRead is the time of one full reading.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{2, 100} {
		b.Run(fmt.Sprintf("links=%d", 2*n), func(b *testing.B) {
			ns := netns.New(b)
			for i := range n {
				if err := netns.Veth(ns, fmt.Sprintf("a%d", i), ns, fmt.Sprintf("b%d", i)); err != nil {
					b.Fatal(err)
				}
			}
			var k *kernel
			if err := ns.Do(func() (err error) { k, err = openKernel(); return err }); err != nil {
				b.Fatal(err)
			}
			defer k.close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.read(); err != nil {
					b.Fatal(err)
				}
				if _, err := k.routes(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCarrierLoss is the time from the moment when the other end of a link is
// switched off until the loss of carrier can be taken, on a quiet machine and while
// addresses come and go as fast as one process can make them.
func BenchmarkCarrierLoss(b *testing.B) {
	b.Run("quiet", func(b *testing.B) { benchmarkCarrierLoss(b, false) })
	b.Run("storm", func(b *testing.B) { benchmarkCarrierLoss(b, true) })
}

func benchmarkCarrierLoss(b *testing.B, stormy bool) {
	ns, isps := wan(b)
	// Not w0, which has the same number as its other end: the kernel then holds the
	// news back for up to a second, as with a real card (linkwatch_urgent_event).
	o := observe(b, ns, uplink("a", "w1"))
	isp, err := isps[1].Netlink().LinkByName("isp")
	if err != nil {
		b.Fatal(err)
	}
	var over atomic.Bool
	var weather sync.WaitGroup
	if stormy {
		weather.Go(func() {
			for !over.Load() {
				storm(b, ns, 100, func(int) {})
			}
		})
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := isps[1].Netlink().LinkSetDown(isp); err != nil {
			b.Fatal(err)
		}
		o.untilLink("a", "no carrier", func(l failover.Link) bool { return !l.Carrier })
		took = append(took, time.Since(began))
		if err := isps[1].Netlink().LinkSetUp(isp); err != nil {
			b.Fatal(err)
		}
		o.untilLink("a", "carrier", func(l failover.Link) bool { return l.Carrier })
		time.Sleep(4 * readInterval) // so that the allowance comes back, but for the storm's
	}
	over.Store(true)
	weather.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-99%")
	b.ReportMetric(float64(o.m.Counters().Messages)/float64(b.N), "messages/op")
	b.ReportMetric(float64(o.m.Counters().Readings)/float64(b.N), "readings/op")
}
