package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the .want files of testdata")

// TestBad compares the problems of each bad file with the text beside it.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("bad files: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			checkBadFile(t, file)
		})
	}
}

func checkBadFile(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, list := Parse(filepath.Base(file), data)
	if c != nil || len(list) == 0 {
		t.Fatalf("a config %v and %d problems, want only problems", c != nil, len(list))
	}
	checkProblems(t, data, list)
	got, wantFile := lines(list), strings.TrimSuffix(file, ".yaml")+".want"
	if *update {
		if err := os.WriteFile(wantFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(wantFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func lines(list []Problem) string {
	var b strings.Builder
	for _, p := range list {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// checkProblems checks the format of every problem: within the file, in the file's
// order, on one line, with all four parts.
func checkProblems(t *testing.T, data []byte, list []Problem) {
	t.Helper()
	last := 1
	for _, p := range list {
		if p.Line < last || p.Line > strings.Count(string(data), "\n")+1 {
			t.Errorf("line %d after %d of %d: %s", p.Line, last, strings.Count(string(data), "\n")+1, p)
		}
		last = p.Line
		if p.Path == "" || p.Wrong == "" || p.Right == "" || strings.ContainsAny(p.String(), "\n\r") {
			t.Errorf("not in the format: %q", p.String())
		}
	}
}
