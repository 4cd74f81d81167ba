package config

import (
	"fmt"
	"strings"
	"testing"
)

// mistakes are single lines of an uplink, each wrong, with what is wrong.
var mistakes = []struct{ key, value, wrong string }{
	{"enabled", "perhaps", "neither true nor false"},
	{"gateway", "1.2.3", "not a gateway"},
	{"gateway6", "1.2.3.4", "an IPv4 address"},
	{"ipv6", "[]", "a list"},
	{"snat", "nat", "not allowed"},
	{"snat_except", "here", "not a prefix"},
	{"snat6", "nat", "not allowed"},
	{"prefix6", "here", "not a prefix"},
	{"metered", "rather", "not allowed"},
	{"dns", "here", "not the address of a resolver"},
}

// TestHundredMistakes makes a hundred mistakes in one file and expects each to be
// reported, at its line, in the file's order, and nothing else.
func TestHundredMistakes(t *testing.T) {
	var file strings.Builder
	var want []string
	line := 0
	write := func(s string) { line++; file.WriteString(s + "\n") }
	write("uplinks:")
	for u := range 10 {
		write(fmt.Sprintf("  - name: u%d", u))
		write(fmt.Sprintf("    interface: eth%d", u))
		for i := range mistakes {
			m := mistakes[(i+u)%len(mistakes)]
			write(fmt.Sprintf("    %s: %s", m.key, m.value))
			want = append(want, fmt.Sprintf("f:%d: uplinks[%d].%s: ", line, u, m.key))
		}
	}
	if len(want) != 100 {
		t.Fatalf("%d mistakes", len(want))
	}
	c, list := Parse("f", []byte(file.String()))
	if c != nil || len(list) != len(want) {
		t.Fatalf("config %v, %d problems, want %d:\n%s", c != nil, len(list), len(want), lines(list))
	}
	for i, p := range list {
		if !strings.HasPrefix(p.String(), want[i]) {
			t.Errorf("got %s, want %s", p, want[i])
		}
	}
	for _, m := range mistakes {
		if n := strings.Count(lines(list), "."+m.key+": "); n != 10 || !strings.Contains(lines(list), m.wrong) {
			t.Errorf("%s: %d times, want 10, with %q", m.key, n, m.wrong)
		}
	}
}

// TestMoreThanAll: the problems beyond maxProblems are counted.
func TestMoreThanAll(t *testing.T) {
	text := "uplinks: auto\nrules:\n" + strings.Repeat("- {form: x, too: y}\n", maxItems)
	_, list := Parse("f", []byte(text))
	if len(list) != maxProblems+1 {
		t.Fatalf("%d problems", len(list))
	}
	if got, want := list[maxProblems].Wrong, fmt.Sprintf("has %d more problems", 3*maxItems-maxProblems); got != want {
		t.Errorf("the last: %s, want %s", got, want)
	}
}
