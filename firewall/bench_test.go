package firewall

import (
	"fmt"
	"os"
	"testing"

	"swerve/failover"
	"swerve/lane"
	"swerve/testenv/netns"
)

// inProcess runs a benchmark in a process of its own inside a namespace, where
// goroutines move freely between threads, as in the daemon. Code under netns.NS.Do
// is locked to one thread, which makes each system call more expensive.
func inProcess(b *testing.B, bench func(*testing.B)) {
	const inside = "SWERVE_BENCHMARK_INSIDE"
	if os.Getenv(inside) != "" {
		bench(b)
		return
	}
	ns := netns.New(b)
	cmd := ns.Command(os.Args[0], "-test.run=^$", "-test.bench=^"+b.Name()+"$", "-test.benchtime=1s")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.SkipNow() // its own result is printed above
}

func sizes() map[string]Goal {
	return map[string]Goal{"2x1": twoUplinks(), "8x8": manyUplinks(8, 8), "63x32": manyUplinks(63, 32)}
}

func BenchmarkRuleset(b *testing.B) {
	for _, size := range []string{"2x1", "8x8", "63x32"} {
		g := sizes()[size]
		b.Run(size, func(b *testing.B) {
			for b.Loop() {
				Ruleset(g)
			}
		})
	}
}

func BenchmarkTableFromAnother(b *testing.B) {
	for _, size := range []string{"2x1", "8x8", "63x32"} {
		g := sizes()[size]
		table := Ruleset(g)
		g.Lost = [2][]Pair{{{1, 64}}, {}}
		b.Run(size, func(b *testing.B) {
			for b.Loop() {
				table.For(g)
			}
		})
	}
}

func BenchmarkApply2x1(b *testing.B)   { inProcess(b, applying("2x1")) }
func BenchmarkApply8x8(b *testing.B)   { inProcess(b, applying("8x8")) }
func BenchmarkApply63x32(b *testing.B) { inProcess(b, applying("63x32")) }

func applying(size string) func(*testing.B) {
	return func(b *testing.B) {
		k, table := new(Kernel), Ruleset(sizes()[size])
		for b.Loop() {
			if err := k.Apply(table); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkMove2x1(b *testing.B)   { inProcess(b, moving("2x1")) }
func BenchmarkMove8x8(b *testing.B)   { inProcess(b, moving("8x8")) }
func BenchmarkMove63x32(b *testing.B) { inProcess(b, moving("63x32")) }

// moving measures a verdict: an uplink is lost to all policies in one family, or
// usable again. The table is computed, and the kernel changed and read back.
func moving(size string) func(*testing.B) {
	return func(b *testing.B) {
		k, g := new(Kernel), sizes()[size]
		from := Ruleset(g)
		if err := k.Apply(from); err != nil {
			b.Fatal(err)
		}
		var lost []Pair
		for _, p := range g.Policies {
			lost = append(lost, Pair{1, p.Lane})
		}
		for i := 0; b.Loop(); i++ {
			g.Lost[failover.IPv4] = nil
			if i%2 == 0 {
				g.Lost[failover.IPv4] = lost
			}
			to := from.For(g)
			if err := k.Move(from, to); err != nil {
				b.Fatal(err)
			}
			if d, err := k.Drift(to); err != nil || d != nil {
				b.Fatal(d, err)
			}
			from = to
		}
	}
}

func BenchmarkDriftUnchanged(b *testing.B) {
	inProcess(b, func(b *testing.B) {
		k, table := new(Kernel), Ruleset(manyUplinks(63, 32))
		if err := k.Apply(table); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if d, err := k.Drift(table); err != nil || d != nil {
				b.Fatal(d, err)
			}
		}
	})
}

func BenchmarkDeleteFlows(b *testing.B) {
	inProcess(b, func(b *testing.B) {
		const entries = 200_000
		k, n := new(Kernel), 0
		fillConntrack(b, entries, func(i int) uint32 { return lane.DefaultLayout.CTPair(2, 64) })
		for b.Loop() {
			if err := k.DeleteFlows(lane.DefaultLayout, Pair{1, 64}, failover.Families[:]...); err != nil {
				b.Fatal(err)
			}
			n++
		}
		b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(n), "ms/scan")
		fmt.Fprintf(os.Stderr, "# %d entries\n", entries)
	})
}
