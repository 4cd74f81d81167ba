package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// Micro is one line of a package's own benchmarks.
type Micro struct {
	Package string  `json:"package"`
	Name    string  `json:"name"`
	NSPerOp float64 `json:"ns_per_op"`
}

// benchmarks are reading a file, and what the hot path takes: a step of the engine, a plan, a
// ruleset, and applying it to a kernel.
var benchmarks = []struct{ pkg, names string }{
	{"failover", "^(BenchmarkStep|BenchmarkView)$"},
	{"config", "^BenchmarkParse$"},
	{"routing", "^(BenchmarkPlan|BenchmarkSwitch|BenchmarkRead)$"},
	{"firewall", "^(BenchmarkRuleset|BenchmarkMove2x1|BenchmarkMove63x32|BenchmarkApply2x1)$"},
	{"daemon", "^(BenchmarkSwitchOnAKernel|BenchmarkPass)$"},
}

// micro runs them with go test, and reports its figures.
func (m *measurer) micro(ctx context.Context) error {
	for _, b := range benchmarks {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", b.names, "-benchtime", m.benchtime, "./"+b.pkg)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("benchmarks of %s: %w: %s", b.pkg, err, out)
		}
		found := parseBenchmarks(b.pkg, out)
		if len(found) == 0 {
			return fmt.Errorf("benchmarks of %s: none in %q", b.pkg, out)
		}
		m.report.Micro = append(m.report.Micro, found...)
		m.progress("benchmarks of %s", b.pkg)
	}
	return nil
}

// benchLine is a line of go test -bench: the name, with the number of processors where
// it is not 1, the number of rounds, and the time of one.
var benchLine = regexp.MustCompile(`^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

func parseBenchmarks(pkg string, out []byte) (all []Micro) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if f := benchLine.FindStringSubmatch(lines.Text()); f != nil {
			ns, _ := strconv.ParseFloat(f[2], 64) // the pattern lets nothing else through
			all = append(all, Micro{Package: pkg, Name: f[1], NSPerOp: ns})
		}
	}
	return all
}
