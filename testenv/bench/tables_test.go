package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository's root, relative to this folder.
const root = "../.."

// The documents have what the report has, and nothing else.
func TestDocumentsAgreeWithTheReport(t *testing.T) {
	report, err := readReport(filepath.Join(root, "docs/bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents {
		text, err := os.ReadFile(filepath.Join(root, d.path))
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := figures.Replace(text, tableOf(report, d.kind))
		if err != nil {
			t.Fatalf("%s: %v", d.path, err)
		}
		if string(fresh) != string(text) {
			t.Errorf("the table in %s differs from docs/bench.json; run make bench-tables", d.path)
		}
	}
}

func TestTable(t *testing.T) {
	r := newReport("1.0.0", 7, false)
	slow := &Figure{Group: "black-hole", What: "new sessions", Family: "ipv4", Unit: "ms", Floor: atMost(180, 250), Void: 2}
	slow.add(170)
	slow.add(251.26)
	free := &Figure{Group: "black-hole", What: "evidence", Unit: "ms"}
	free.add(0.1234)
	r.add(slow, free)
	r.Micro = []Micro{{"failover", "BenchmarkStep", 253.4}}
	whole, heads := tableOf(r, everything), tableOf(r, headlines)
	for _, want := range []string{
		"| black-hole: new sessions, ipv4 | ms | median ≤ 180, worst ≤ 250 | 170 | 211 | 251 **missed** | 2 | 2 |\n",
		"| black-hole: evidence | ms |  | 0.123 | 0.123 | 0.123 | 1 | 0 |\n",
		"| failover BenchmarkStep | 253ns |\n",
	} {
		if !strings.Contains(whole, want) {
			t.Errorf("%q is not in\n%s", want, whole)
		}
	}
	if strings.Contains(heads, "evidence") || strings.Contains(heads, "Benchmark") || !strings.Contains(heads, "new sessions") {
		t.Errorf("the headlines are\n%s", heads)
	}
}
